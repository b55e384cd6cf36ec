//! Messages to events: total and stateless. What one message says, without memory of earlier ones.

pub mod device;
pub mod journal;

use jiff::tz::TimeZone;

use crate::profile::Profile;

/// What a message has to be read with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The model's profile.
    pub profile: &'a Profile,
    /// The terminal's time zone, for protocols that print local time.
    pub time_zone: &'a TimeZone,
}
