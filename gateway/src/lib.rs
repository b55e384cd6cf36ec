//! Vestibule: an edge gateway for bank branches.

pub mod api;
pub mod clock;
pub mod event;
pub mod forward;
pub mod link;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod normalize;
pub mod profile;
pub mod protocol;
pub mod rules;
