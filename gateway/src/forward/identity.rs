//! Who we are to subscribers.

/// Who we are, as subscribers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the branch or place.
    pub site: String,
    /// Name of this gateway, unique within the site.
    pub gateway: String,
}
