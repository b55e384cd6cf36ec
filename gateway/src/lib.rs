//! Vestibule: an edge gateway for bank branches.

pub mod cli;
pub mod event;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod normalize;
pub mod profile;
pub mod protocol;
