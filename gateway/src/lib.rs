//! Vestibule: an edge gateway for bank branches.

pub mod event;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod protocol;
pub mod rules;
