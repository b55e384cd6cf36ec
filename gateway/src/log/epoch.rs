//! The name of one database file's life: event ids begin with it, so that they are never reused.

use std::fmt;

/// A random name given to a store when it is created or restored: eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(String);

impl Epoch {
    /// A new random one.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn random() -> Result<Epoch, getrandom::Error> {
        let mut bytes = [0_u8; 4];
        getrandom::fill(&mut bytes)?;
        Ok(Epoch(format!("{:08x}", u32::from_be_bytes(bytes))))
    }

    /// One read back from a store.
    pub(super) fn stored(text: String) -> Epoch {
        Epoch(text)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
