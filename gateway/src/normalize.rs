//! Messages to events: total and stateless. What one message says, without memory of earlier ones.

pub mod device;
