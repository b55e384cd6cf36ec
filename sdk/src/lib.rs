//! Vestibule SDK.
