//! The event in hand.

use crate::contract::vestibule::rule::types::Event as Record;
use crate::host;

/// How bad an event is, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing to do.
    Info,
    /// Look at it in time.
    Warning,
    /// A function is lost or about to be.
    Major,
    /// The terminal, its cash or its safety is at stake.
    Critical,
}

impl Severity {
    /// The number in the contract.
    pub const fn code(self) -> u8 {
        match self {
            Severity::Info => 0,
            Severity::Warning => 1,
            Severity::Major => 2,
            Severity::Critical => 3,
        }
    }

    /// The severity with this number; a number that is newer than this SDK is the worst known.
    pub const fn from_code(code: u8) -> Severity {
        match code {
            0 => Severity::Info,
            1 => Severity::Warning,
            2 => Severity::Major,
            _ => Severity::Critical,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }
}

/// An event that the gateway has committed. Numbers are at hand; text is fetched from the gateway when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    record: &'a Record,
    index: u32,
}

impl<'a> Event<'a> {
    pub(crate) fn new(record: &'a Record, index: u32) -> Self {
        Event { record, index }
    }

    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// Its place in the gateway's log.
    pub fn seq(self) -> u64 {
        self.record.seq
    }

    /// When the gateway read it, in milliseconds since 1970 UTC. This is a rule's "now".
    pub fn at_ms(self) -> i64 {
        self.record.at_ms
    }

    /// What happened: one of [`crate::kind`].
    pub fn kind(self) -> u16 {
        self.record.kind
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        Severity::from_code(self.record.severity)
    }

    /// Whether a condition begins with it.
    pub fn is_raised(self) -> bool {
        self.record.state == 1
    }

    /// Whether a condition ends with it.
    pub fn is_cleared(self) -> bool {
        self.record.state == 2
    }

    /// The device that it is about: one of [`crate::device`], 0 for none.
    pub fn device(self) -> u16 {
        self.record.device
    }

    /// The part that it is about: one of [`crate::component`], 0 for none.
    pub fn component(self) -> u16 {
        self.record.component
    }

    /// Its money: the amount in minor units (cents) and the currency's three letters.
    pub fn amount(self) -> Option<(i64, [u8; 3])> {
        let [_, letters @ ..] = self.record.currency.to_be_bytes();
        (self.record.currency != 0).then_some((self.record.amount_minor, letters))
    }

    /// The terminal that it is about.
    pub fn terminal(self) -> Terminal {
        Terminal(self.record.terminal)
    }

    /// An attribute; what is no text comes as JSON.
    pub fn attribute(self, name: &str) -> Option<String> {
        host::attribute(self.index, name)
    }

    /// A text field by its name in the JSON form: `detail`, `card`, `protocol`, `link`, `occurred_at`, `cause`, `rule`.
    pub fn field(self, name: &str) -> Option<String> {
        host::field(self.index, name)
    }
}

/// A terminal, as long as the event in hand is in hand. To remember one, store its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terminal(pub(crate) u32);

impl Terminal {
    /// Its name in the gateway's configuration.
    pub fn name(self) -> String {
        host::terminal_name(self.0)
    }

    /// Whether its profile says this of it, such as `reports_requests`.
    pub fn flag(self, name: &str) -> bool {
        host::terminal_flag(self.0, name)
    }
}
