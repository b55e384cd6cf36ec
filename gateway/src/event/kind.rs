//! Every kind of event, its number, its default severity and its meaning, in one table.
//!
//! Numbers are part of the plugin contract: they are never reused and never change. The high byte is the family.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Component, Device};

/// How bad an event is, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Every severity, least first.
    pub const ALL: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Major, Severity::Critical];

    /// The name in the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Severity::ALL
            .into_iter()
            .find(|severity| severity.name() == text)
            .ok_or_else(|| format!("unknown severity `{text}`: expected info, warning, major or critical"))
    }
}

/// One row of the table of kinds.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// The kind.
    pub kind: Kind,
    /// Its number in the plugin contract.
    pub code: u16,
    /// Its dotted name.
    pub name: &'static str,
    /// Its severity where nothing raises or lowers it.
    pub severity: Severity,
    /// What it means.
    pub meaning: &'static str,
}

macro_rules! kinds {
    ($($variant:ident = $code:literal $name:literal $severity:ident $meaning:literal)*) => {
        /// What happened. The dotted name's first part is its family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $(#[doc = $meaning] $variant = $code,)*
        }

        /// Every kind, in the order of the numbers.
        static TABLE: &[KindInfo] = &[
            $(KindInfo {
                kind: Kind::$variant, code: $code, name: $name, severity: Severity::$severity, meaning: $meaning,
            },)*
        ];

        impl Kind {
            /// The dotted name.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            /// The severity where nothing raises or lowers it.
            pub fn severity(self) -> Severity {
                match self { $(Kind::$variant => Severity::$severity,)* }
            }
        }
    };
}

kinds! {
    DeviceFault = 0x0101 "device.fault" Critical "A device failed; major where one function stops, warning where only the status says so."
    DeviceSuspended = 0x0102 "device.suspended" Major "A device suspended itself, possibly because of tampering."
    DeviceWarning = 0x0103 "device.warning" Warning "A device works but reports a warning."
    DeviceRecovered = 0x0104 "device.recovered" Info "A device that had failed works again."
    DeviceRemoved = 0x0105 "device.removed" Warning "A device is no longer there."
    DeviceStatusRaw = 0x0106 "device.status_raw" Info "A status whose meaning is not known, reported as it came."

    SupplyLow = 0x0201 "supply.low" Warning "A supply runs low."
    SupplyOut = 0x0202 "supply.out" Major "A supply is used up; critical for cash."
    SupplyOverfill = 0x0203 "supply.overfill" Major "A bin is too full."
    SupplyOk = 0x0204 "supply.ok" Info "A supply that was low, out or overfilled is good again."
    CassetteMissing = 0x0205 "cassette.missing" Major "A cassette is not in its place."
    CassetteInserted = 0x0206 "cassette.inserted" Info "A cassette was put in its place."

    DispenseShort = 0x0301 "dispense.short" Major "Fewer notes were dispensed than asked for."
    DispenseFailed = 0x0302 "dispense.failed" Major "No notes were dispensed."
    DispenseUncertain = 0x0303 "dispense.uncertain" Critical "It is not known how many notes were dispensed."
    CashStacked = 0x0304 "cash.stacked" Info "Notes were stacked for presenting."
    CashPresented = 0x0305 "cash.presented" Info "Notes were presented to the customer."
    CashTaken = 0x0306 "cash.taken" Info "The customer took the notes."
    CashInserted = 0x0307 "cash.inserted" Info "The customer put notes in."
    CashRefunded = 0x0308 "cash.refunded" Info "Inserted notes were given back."
    CashReplenished = 0x0309 "cash.replenished" Info "Cash was added."
    CashRefused = 0x030a "cash.refused" Warning "Inserted notes were refused."
    CashRetracted = 0x030b "cash.retracted" Major "Notes that were not taken were pulled back."

    CardInserted = 0x0401 "card.inserted" Info "A card was inserted."
    CardTaken = 0x0402 "card.taken" Info "The customer took the card."
    CardCaptured = 0x0403 "card.captured" Major "The card was kept."
    CardEjectFailed = 0x0404 "card.eject_failed" Major "The card could not be given back."
    CardReadError = 0x0405 "card.read_error" Warning "The card could not be read."

    TxnStarted = 0x0501 "txn.started" Info "A customer session began."
    TxnPinEntered = 0x0502 "txn.pin_entered" Info "A PIN was entered."
    TxnRequested = 0x0503 "txn.requested" Info "The terminal asked its host for a transaction."
    TxnReply = 0x0504 "txn.reply" Info "The host answered a transaction request."
    TxnApproved = 0x0505 "txn.approved" Info "A transaction was approved."
    TxnCompleted = 0x0506 "txn.completed" Info "The terminal carried a transaction out."
    TxnEnded = 0x0507 "txn.ended" Info "A customer session ended."
    TxnDeclined = 0x0508 "txn.declined" Warning "A transaction was declined; major where the reason is no everyday one."
    TxnCancelled = 0x0509 "txn.cancelled" Info "The customer cancelled."
    TxnTimeout = 0x050a "txn.timeout" Warning "A transaction ran out of time."
    TxnReversal = 0x050b "txn.reversal" Warning "A transaction is taken back."
    TxnReversalAck = 0x050c "txn.reversal_ack" Info "A reversal was confirmed."

    ModeInService = 0x0601 "mode.in_service" Info "The terminal went in service."
    ModeOutOfService = 0x0602 "mode.out_of_service" Major "The terminal went out of service."
    ModeSupervisorEntered = 0x0603 "mode.supervisor_entered" Warning "Supervisor mode was entered."
    ModeSupervisorExited = 0x0604 "mode.supervisor_exited" Info "Supervisor mode was left."
    ModeSupervisorKey = 0x0605 "mode.supervisor_key" Info "A key was pressed in supervisor mode."
    ModeDiagnostics = 0x0606 "mode.diagnostics" Warning "Diagnostics were started."
    HostGoInService = 0x0607 "host.go_in_service" Info "The host told the terminal to go in service."
    HostGoOutOfService = 0x0608 "host.go_out_of_service" Warning "The host told the terminal to go out of service."
    HostQuery = 0x0609 "host.query" Info "The host asked the terminal something."
    HostDownload = 0x060a "host.download" Info "The host sent the terminal configuration data."

    CommsLost = 0x0701 "comms.lost" Critical "A terminal's link is gone."
    CommsRestored = 0x0702 "comms.restored" Info "A terminal's link is back."
    CommsDegraded = 0x0703 "comms.degraded" Warning "A terminal's link works badly."
    NetSignOn = 0x0704 "net.sign_on" Info "Network sign-on."
    NetSignOff = 0x0705 "net.sign_off" Info "Network sign-off."
    NetEcho = 0x0706 "net.echo" Info "Network echo test."
    NetManagement = 0x0707 "net.management" Info "Another network management message."
    NetResponse = 0x0708 "net.response" Info "The answer to a network management message."
    PowerRestart = 0x0709 "power.restart" Warning "The terminal started after a power failure or reset."
    ClockFault = 0x070a "clock.fault" Warning "The terminal's clock is wrong."

    SecurityDoorOpen = 0x0801 "security.door_open" Major "A door is open."
    SecurityDoorClosed = 0x0802 "security.door_closed" Info "A door was closed."
    SecurityEnclosureOpen = 0x0803 "security.enclosure_open" Major "The electronics enclosure is open."
    SecurityVibration = 0x0804 "security.vibration" Critical "The vibration or heat sensor is active."
    SecuritySilentAlarm = 0x0805 "security.silent_alarm" Critical "The silent alarm was given."
    SecurityTamper = 0x0806 "security.tamper" Critical "Somebody tampers with the terminal."
    SecuritySkimmingSuspected = 0x0807 "security.skimming_suspected" Critical "A skimming device is suspected."
    SecurityFraudAttempt = 0x0808 "security.fraud_attempt" Critical "A fraud attempt was reported."
    SecurityCassetteManipulated = 0x0809 "security.cassette_manipulated" Critical "A cassette was manipulated."
    SecurityUnauthorisedDispense = 0x080a "security.unauthorised_dispense" Critical "Cash came out that no transaction asked for."
    SecurityJackpotSuspected = 0x080b "security.jackpot_suspected" Critical "Several signs of jackpotting together."
    SecurityPasswordChanged = 0x080c "security.password_changed" Major "A password was changed at the terminal."
    SecurityKeyEvent = 0x080d "security.key_event" Info "The encryptor reported about its keys."
    SecurityEncryptorFault = 0x080e "security.encryptor_fault" Critical "The encryptor failed."

    CountersReported = 0x0901 "counters.reported" Info "The terminal reported its counters."
    CountersCleared = 0x0902 "counters.cleared" Info "The terminal's counters were cleared."
    ConfigReported = 0x0903 "config.reported" Info "The terminal reported its configuration."
    JournalBlock = 0x0904 "journal.block" Info "A block of the electronic journal arrived."
    JournalAck = 0x0905 "journal.ack" Info "A block of the electronic journal was acknowledged."
    JournalUnparsed = 0x0906 "journal.unparsed" Info "A journal line whose meaning is not known."
    CommandOk = 0x0907 "command.ok" Info "The terminal reported ready after a command."
    ProtocolError = 0x0908 "protocol.error" Warning "Bytes that nobody understands; masked, with the reason."
    ProtocolCommandReject = 0x0909 "protocol.command_reject" Warning "The terminal rejected a message of its host."

    AlertRaised = 0x0a01 "alert.raised" Warning "A rule raised an alert; its severity is the alert's."
    AlertCleared = 0x0a02 "alert.cleared" Info "A rule's alert is over."

    CommandRequested = 0x0b01 "command.requested" Info "Somebody asked for a command to a terminal."
    CommandDone = 0x0b02 "command.done" Info "A command was carried out."
    CommandRefused = 0x0b03 "command.refused" Warning "A command was refused."
    CommandExpired = 0x0b04 "command.expired" Warning "A command ran out of time before it was delivered."
    CommandUnknown = 0x0b05 "command.unknown" Warning "It is not known whether a command was carried out."
    CommandSent = 0x0b06 "command.sent" Info "A command is on its way to its terminal."

    GatewayStarted = 0x0c01 "gateway.started" Info "The gateway started."
    GatewayStopped = 0x0c02 "gateway.stopped" Info "The gateway was stopped in order."
    GatewayStoreReplaced = 0x0c03 "gateway.store_replaced" Critical "The event store was damaged, set aside, and begun anew."
    GatewayGap = 0x0c04 "gateway.gap" Critical "Events were given up before they were forwarded; warning where only a rule missed them."
    GatewayUnknownTerminal = 0x0c05 "gateway.unknown_terminal" Warning "A terminal that nobody configured speaks."
    GatewayLinkFault = 0x0c06 "gateway.link_fault" Major "A link's port cannot be opened, or its certificate not be used."
    GatewayLinkRestored = 0x0c07 "gateway.link_restored" Info "A link's port or certificate can be used again."
    GatewayPluginLoaded = 0x0c08 "gateway.plugin_loaded" Info "A plugin took effect."
    GatewayPluginRefused = 0x0c09 "gateway.plugin_refused" Major "A plugin could not be loaded; the one before stays in force."
    GatewayPluginRemoved = 0x0c0a "gateway.plugin_removed" Info "A plugin was taken away."
    GatewayPluginFault = 0x0c0b "gateway.plugin_fault" Major "A plugin trapped or ran out of time; the event was skipped."
    GatewayAuthRefused = 0x0c0c "gateway.auth_refused" Warning "Somebody who may not come in, or may not do this, was refused."
    GatewayTokenAdded = 0x0c0d "gateway.token_added" Info "A token took effect."
    GatewayTokenChanged = 0x0c0e "gateway.token_changed" Info "A token has a new secret, role, end or list of terminals."
    GatewayTokenRevoked = 0x0c0f "gateway.token_revoked" Warning "A token was taken away."
    GatewayStoreRestored = 0x0c18 "gateway.store_restored" Major "A backup was restored; a new life of the store began."
    GatewayStoreRewound = 0x0c19 "gateway.store_rewound" Critical "The store's write-ahead log was gone; the newest events may be lost, and a new life of the store began."
    GatewayEventsSalvaged = 0x0c1a "gateway.events_salvaged" Info "Events of a store that was set aside are pending again; major where some cannot be read."
    GatewayDeadLettersReplayed = 0x0c1b "gateway.dead_letters_replayed" Info "Dead letters are pending again, because somebody asked for it."

    GatewayClockSet = 0x0c20 "gateway.clock_set" Info "The gateway's clock is right now; events that were read while it was wrong are dated anew."
    GatewayClockMoved = 0x0c21 "gateway.clock_moved" Warning "The gateway's clock was moved while it ran."
    GatewayConfigReloaded = 0x0c22 "gateway.config_reloaded" Info "A changed configuration took effect without a restart."
    GatewayConfigRefused = 0x0c23 "gateway.config_refused" Major "A changed configuration has faults or needs a restart; the one before stays in force."
    GatewayDiskLow = 0x0c24 "gateway.disk_low" Critical "The gateway's disk has no room for more: nothing new is accepted."
    GatewayDiskRecovered = 0x0c25 "gateway.disk_recovered" Info "The gateway's disk has room again: events are accepted."

    SourceReport = 0x0d01 "source.report" Info "A report of a JSON source that names no kind of this table."
}

impl Kind {
    /// The table of all kinds, in the order of the numbers.
    pub fn table() -> &'static [KindInfo] {
        TABLE
    }

    /// The severity where nothing else is known than which part it is about: cash that is out is critical.
    pub fn severity_of(self, device: Option<Device>, component: Option<Component>) -> Severity {
        let cash = device == Some(Device::CashHandler) || matches!(component, Some(Component::Cassette(_)));
        if self == Kind::SupplyOut && cash { Severity::Critical } else { self.severity() }
    }

    /// Whether only the gateway can know it: no source may say it.
    pub fn is_gateways_own(self) -> bool {
        let family = self.code() >> 8;
        matches!(family, 0x0a..=0x0c) || matches!(self, Kind::CommsLost | Kind::CommsRestored)
    }

    /// The number in the plugin contract.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The kind with this number, if there is one.
    pub fn from_code(code: u16) -> Option<Kind> {
        TABLE.iter().find(|row| row.code == code).map(|row| row.kind)
    }

    /// The first part of the name: `supply` of `supply.low`.
    pub fn family(self) -> &'static str {
        let name = self.name();
        name.split_once('.').map_or(name, |(family, _)| family)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        TABLE.iter().find(|row| row.name == text).map(|row| row.kind).ok_or_else(|| format!("unknown kind `{text}`"))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique_and_read_back() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.name.parse::<Kind>(), Ok(row.kind));
            assert_eq!(Kind::from_code(row.code), Some(row.kind));
            assert!(TABLE[..index].iter().all(|before| before.code < row.code), "{} out of order", row.name);
        }
    }
}
