//! What a gateway must make of [`DAY`](super::script::DAY), played once: a table for each protocol, because not every
//! protocol can say everything.

use std::io;

use serde::Serialize;

use super::journal::Words;
use crate::profile::Profile;
use crate::protocol::Protocol;

/// What must come of a terminal's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The events, `kind:severity[:component]`, in the order of the script; what the gateway itself says of its links is
    /// not among them.
    pub events: &'static [&'static str],
    /// The conditions that are open at the end, `key kind`.
    pub conditions: &'static [&'static str],
}

/// What must come of the day of a terminal of this model.
///
/// # Errors
/// Where its journal has words that nobody plays.
pub fn day(profile: &Profile) -> io::Result<Expected> {
    Ok(match profile.protocol {
        Protocol::Ndc => NDC,
        Protocol::Iso8583 => ISO8583,
        Protocol::Journal => match Words::of(profile)? {
            Words::Ncr => JOURNAL,
            Words::Wincor => WINCOR,
            Words::Hyosung => HYOSUNG,
        },
        Protocol::Jsonl => JSONL,
        Protocol::Triton => TRITON,
        Protocol::Xfs4iot => XFS4IOT,
        Protocol::Upload => UPLOAD,
    })
}

/// Statuses of devices, and transactions as far as the terminal's side of them goes.
const NDC: Expected = Expected {
    events: &[
        "power.restart:warning",
        // Withdrawal, deposit, refusal: what the host replied goes the other way.
        "txn.requested:info",
        "txn.completed:info",
        "txn.requested:info",
        "txn.completed:info",
        "txn.requested:info",
        "txn.completed:info",
        "supply.low:warning:cassette_2",
        "mode.supervisor_entered:warning",
        "mode.supervisor_key:info",
        "supply.ok:info:cassette_2",
        "mode.supervisor_exited:info",
        // Jam and repair.
        "dispense.failed:major",
        "device.fault:critical",
        "device.recovered:info",
        "cash.retracted:major",
        "card.captured:major",
        // Jackpotting: the dispenser does not know what it gave, and suspends itself.
        "dispense.uncertain:critical",
        "device.suspended:major",
        "device.warning:warning",
        "supply.low:warning:paper",
    ],
    conditions: &[
        "device/cash_handler device.suspended",
        "device/receipt_printer device.warning",
        "supply/receipt_printer/paper supply.low",
    ],
};

/// Both sides of every transaction, and of the network; nothing of devices.
const ISO8583: Expected = Expected {
    events: &[
        "net.sign_on:info",
        "net.response:info",
        "txn.requested:info",
        "txn.approved:info",
        "txn.requested:info",
        "txn.approved:info",
        "txn.requested:info",
        "txn.declined:warning",
        // Supervisor mode: signed off, and on again.
        "net.sign_off:info",
        "net.response:info",
        "net.sign_on:info",
        "net.response:info",
        // A jam is a withdrawal taken back; the repair ends with an echo test.
        "txn.requested:info",
        "txn.approved:info",
        "txn.reversal:warning",
        "txn.reversal_ack:info",
        "net.echo:info",
        "net.response:info",
        // Notes that were not taken.
        "txn.requested:info",
        "txn.approved:info",
        "txn.reversal:warning",
        "txn.reversal_ack:info",
        // A card that the host wants kept.
        "txn.requested:info",
        "txn.declined:major",
    ],
    conditions: &[],
};

/// Everything that is printed, which is nearly everything; but printed statuses have no error severity.
const JOURNAL: Expected = Expected {
    events: &[
        "power.restart:warning",
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "cash.stacked:info",
        "card.taken:info",
        "cash.presented:info",
        "cash.taken:info",
        "counters.reported:info",
        "txn.ended:info",
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "cash.inserted:info",
        "txn.completed:info",
        "card.taken:info",
        "txn.ended:info",
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "txn.declined:warning",
        "card.taken:info",
        "txn.ended:info",
        "supply.low:warning:cassette_2",
        "mode.supervisor_entered:warning",
        "mode.supervisor_key:info",
        "supply.ok:info:cassette_2",
        "mode.supervisor_exited:info",
        "dispense.failed:major",
        // Notes that were not taken go to the retract bin, and the recycler recovers.
        "cash.retracted:major",
        "device.recovered:info",
        "card.captured:major",
        // Jackpotting: cash without a session.
        "cash.stacked:info",
        "cash.presented:info",
        "cash.taken:info",
        "supply.low:warning:paper",
    ],
    conditions: &["supply/receipt_printer/paper supply.low"],
};

/// Customers, cards and cassettes; nothing of power, supplies, jams and supervisor mode.
const WINCOR: Expected = Expected {
    events: &[
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "txn.requested:info",
        "cash.presented:info",
        "cash.taken:info",
        "card.taken:info",
        "txn.ended:info",
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "cash.inserted:info",
        "txn.requested:info",
        "txn.completed:info",
        "card.taken:info",
        "txn.ended:info",
        // A refusal is not said in words.
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "txn.requested:info",
        "card.taken:info",
        "txn.ended:info",
        // The engineer takes the cassette out, and puts a full one in.
        "cassette.missing:major:cassette_2",
        "cassette.inserted:info:cassette_2",
        "cash.retracted:major",
        "card.captured:major",
        "cash.presented:info",
        "cash.taken:info",
    ],
    conditions: &[],
};

/// Records of transactions, of the operator and of the terminal. That supervisor mode is left has no record of its own.
const HYOSUNG: Expected = Expected {
    events: &[
        "power.restart:warning",
        "txn.completed:info",
        "txn.completed:info",
        "txn.declined:warning",
        "mode.supervisor_entered:warning",
        "mode.supervisor_key:info",
        "cash.replenished:info",
        "mode.in_service:info",
        "device.fault:major",
        "device.recovered:info",
        "txn.reversal:warning",
    ],
    conditions: &["supervisor mode.supervisor_entered"],
};

/// Every happening by its own name.
const JSONL: Expected = Expected {
    events: &[
        "power.restart:warning",
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "txn.requested:info",
        "txn.approved:info",
        "card.taken:info",
        "cash.presented:info",
        "cash.taken:info",
        "txn.ended:info",
        "txn.started:info",
        "card.inserted:info",
        "txn.pin_entered:info",
        "cash.inserted:info",
        "txn.requested:info",
        "txn.approved:info",
        "cash.stacked:info",
        "card.taken:info",
        "txn.ended:info",
        "txn.started:info",
        "card.inserted:info",
        "txn.requested:info",
        "txn.declined:warning",
        "card.taken:info",
        "txn.ended:info",
        "supply.low:warning:cassette_2",
        "mode.supervisor_entered:warning",
        "mode.supervisor_key:info",
        "supply.ok:info:cassette_2",
        "mode.supervisor_exited:info",
        "dispense.failed:major",
        "device.fault:critical",
        "device.recovered:info",
        "cash.retracted:major:retract_bin",
        "card.captured:major",
        // Jackpotting: cash without a session.
        "cash.presented:info",
        "cash.taken:info",
        "supply.low:warning:paper",
    ],
    conditions: &["supply/receipt_printer/paper supply.low"],
};

/// What a retail terminal asks its host; nothing of devices.
const TRITON: Expected = Expected {
    events: &[
        // After power-up it asks for its configuration.
        "host.query:info",
        "txn.requested:info",
        "txn.requested:info",
        // Somebody counts the cash, and closes the business day.
        "host.query:info",
        "host.query:info",
        "txn.requested:info",
        "txn.reversal:warning",
        "txn.requested:info",
        "txn.reversal:warning",
    ],
    conditions: &[],
};

/// What services say unasked. The order between two services is not that of the script.
const XFS4IOT: Expected = Expected {
    events: &[
        "card.inserted:info",
        "card.taken:info",
        "cash.presented:info",
        "cash.taken:info",
        "card.inserted:info",
        "cash.inserted:info",
        "cash.stacked:info",
        "card.taken:info",
        "card.inserted:info",
        "card.taken:info",
        "supply.low:warning:unit2",
        "mode.supervisor_entered:warning",
        "supply.ok:info:unit2",
        "mode.supervisor_exited:info",
        "device.fault:critical",
        "device.recovered:info",
        "cash.retracted:major",
        "card.captured:major",
        "cash.presented:info",
        "cash.taken:info",
        "supply.low:warning:paper",
    ],
    conditions: &["supply/receipt_printer/paper supply.low"],
};

/// A journal's line for everything, and what its agent knows a name for.
const UPLOAD: Expected = Expected {
    events: &[
        "journal.unparsed:info",
        "source.report:info",
        "journal.unparsed:info",
        "txn.completed:info",
        "journal.unparsed:info",
        "txn.completed:info",
        "journal.unparsed:info",
        "txn.declined:warning",
        "journal.unparsed:info",
        "journal.unparsed:info",
        "mode.diagnostics:info",
        "journal.unparsed:info",
        "journal.unparsed:info",
        "journal.unparsed:info",
        "journal.unparsed:info",
        "device.fault:major",
        "journal.unparsed:info",
        "device.recovered:info",
        "journal.unparsed:info",
        "journal.unparsed:info",
        "journal.unparsed:info",
        "security.fraud_attempt:critical",
        "journal.unparsed:info",
        "supply.low:warning:paper",
    ],
    conditions: &["supply/receipt_printer/paper supply.low"],
};
