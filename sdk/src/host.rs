//! The gateway's functions: those of the contract inside the gateway, those of the test host in a test.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::contract::vestibule::rule::host::{
    attribute, field, log, state_get, state_remove, state_set, terminal_flag, terminal_name,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::test_host::{
    attribute, field, log, state_get, state_remove, state_set, terminal_flag, terminal_name,
};
