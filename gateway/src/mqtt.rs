//! MQTT as a client speaks it, 5 and 3.1.1: where the brokers are, one connection at a time, the wire. It knows no event
//! and no command, and decides nothing for those who use it: the forwarder and the commands, each on a connection of its own.
//!
//! ```text
//! Broker ─ settings, files ─→ Door ─→ Client ─ words ↔ packets ─ wire
//!   Keeper ─ one connection after the other ─ Round: which broker is tried next, and when
//! ```

mod address;
mod broker;
mod client;
mod keeper;
pub(crate) mod level;
mod round;
mod tls;
mod wire;

pub use self::address::Address;
pub use self::broker::Broker;
pub(crate) use self::broker::Unfit;
pub(crate) use self::client::{Broken, Client, Expiries};
pub(crate) use self::keeper::{Ended, Keeper, Opened};
pub use self::tls::Tls;
pub use self::wire::Version;
pub(crate) use self::wire::{
    Content, Delivery, Greeting, Limits, MAX_INCOMING, Packet, Publication, Resume, Verdict, Word,
};
