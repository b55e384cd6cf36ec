//! NDC, NDC+ and Advance NDC.

pub mod codes;
pub mod digit;
pub mod status;
