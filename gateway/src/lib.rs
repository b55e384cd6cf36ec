//! Vestibule: an edge gateway for bank branches.
//!
//! The path of an event, and the module of each step:
//!
//! ```text
//! link ─frame→ protocol ─message→ normalize ─event→ log (fold: terminals; one writer, fsync)
//!                                                    ├─ cursor → rules   → effects, one transaction
//!                                                    ├─ ranges → forward → MQTT QoS 1
//!                                                    └─ tail   → whoever watches
//! commands: HTTP, MQTT or a rule → log → commands → link
//! ```
//!
//! [`event`] is the vocabulary, [`mask`] keeps card data out, [`profile`] says what a model calls its parts, [`gateway`]
//! builds and drains all of it, and [`cli`] is the way in. `gateway/ARCHITECTURE.md` tells the rest.

pub mod api;
pub mod auth;
mod backoff;
pub mod cli;
pub mod clock;
pub mod command;
pub mod commands;
pub mod config;
pub mod event;
pub mod forward;
pub mod gateway;
pub mod link;
pub mod local_time;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod mqtt;
pub mod normalize;
pub mod profile;
pub mod protocol;
pub mod rules;
pub mod simulate;
pub mod terminals;
pub mod tls;
pub mod watch;
