//! What can be wrong with a dialect.

/// Why a dialect cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DialectError {
    /// It is no TOML of this form.
    #[error("{0}")]
    File(#[from] toml::de::Error),
    /// No dialect of this name is part of the program.
    #[error("no journal dialect `{0}`; built in are ncr, procash and moniplus, a file's name ends with .toml")]
    Unknown(String),
    /// A rule says what cannot be.
    #[error("rule `{rule}`: {reason}")]
    Rule {
        /// The rule's pattern as it stands in the file.
        rule: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The rules together are too much, or two of them take the same part.
    #[error("{0}")]
    Rules(String),
}
