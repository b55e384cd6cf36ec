//! Every kind of event. A test of the gateway compares this file with its own table.

use crate::Severity;

macro_rules! kinds {
    ($($constant:ident = $code:literal $name:literal $severity:ident $meaning:literal)*) => {
        $(#[doc = $meaning] pub const $constant: u16 = $code;)*

        /// Number, dotted name and default severity of every kind.
        pub const TABLE: &[(u16, &str, Severity)] = &[$(($code, $name, Severity::$severity)),*];
    };
}

kinds! {
    DEVICE_FAULT = 0x0101 "device.fault" Critical "A device failed; major where one function stops, warning where only the status says so."
    DEVICE_SUSPENDED = 0x0102 "device.suspended" Major "A device suspended itself, possibly because of tampering."
    DEVICE_WARNING = 0x0103 "device.warning" Warning "A device works but reports a warning."
    DEVICE_RECOVERED = 0x0104 "device.recovered" Info "A device that had failed works again."
    DEVICE_REMOVED = 0x0105 "device.removed" Warning "A device is no longer there."
    DEVICE_STATUS_RAW = 0x0106 "device.status_raw" Info "A status whose meaning is not known, reported as it came."

    SUPPLY_LOW = 0x0201 "supply.low" Warning "A supply runs low."
    SUPPLY_OUT = 0x0202 "supply.out" Major "A supply is used up; critical for cash."
    SUPPLY_OVERFILL = 0x0203 "supply.overfill" Major "A bin is too full."
    SUPPLY_OK = 0x0204 "supply.ok" Info "A supply that was low, out or overfilled is good again."
    CASSETTE_MISSING = 0x0205 "cassette.missing" Major "A cassette is not in its place."
    CASSETTE_INSERTED = 0x0206 "cassette.inserted" Info "A cassette was put in its place."

    DISPENSE_SHORT = 0x0301 "dispense.short" Major "Fewer notes were dispensed than asked for."
    DISPENSE_FAILED = 0x0302 "dispense.failed" Major "No notes were dispensed."
    DISPENSE_UNCERTAIN = 0x0303 "dispense.uncertain" Critical "It is not known how many notes were dispensed."
    CASH_STACKED = 0x0304 "cash.stacked" Info "Notes were stacked for presenting."
    CASH_PRESENTED = 0x0305 "cash.presented" Info "Notes were presented to the customer."
    CASH_TAKEN = 0x0306 "cash.taken" Info "The customer took the notes."
    CASH_INSERTED = 0x0307 "cash.inserted" Info "The customer put notes in."
    CASH_REFUNDED = 0x0308 "cash.refunded" Info "Inserted notes were given back."
    CASH_REPLENISHED = 0x0309 "cash.replenished" Info "Cash was added."
    CASH_REFUSED = 0x030a "cash.refused" Warning "Inserted notes were refused."
    CASH_RETRACTED = 0x030b "cash.retracted" Major "Notes that were not taken were pulled back."

    CARD_INSERTED = 0x0401 "card.inserted" Info "A card was inserted."
    CARD_TAKEN = 0x0402 "card.taken" Info "The customer took the card."
    CARD_CAPTURED = 0x0403 "card.captured" Major "The card was kept."
    CARD_EJECT_FAILED = 0x0404 "card.eject_failed" Major "The card could not be given back."
    CARD_READ_ERROR = 0x0405 "card.read_error" Warning "The card could not be read."

    TXN_STARTED = 0x0501 "txn.started" Info "A customer session began."
    TXN_PIN_ENTERED = 0x0502 "txn.pin_entered" Info "A PIN was entered."
    TXN_REQUESTED = 0x0503 "txn.requested" Info "The terminal asked its host for a transaction."
    TXN_REPLY = 0x0504 "txn.reply" Info "The host answered a transaction request."
    TXN_APPROVED = 0x0505 "txn.approved" Info "A transaction was approved."
    TXN_COMPLETED = 0x0506 "txn.completed" Info "The terminal carried a transaction out."
    TXN_ENDED = 0x0507 "txn.ended" Info "A customer session ended."
    TXN_DECLINED = 0x0508 "txn.declined" Warning "A transaction was declined; major where the reason is no everyday one."
    TXN_CANCELLED = 0x0509 "txn.cancelled" Info "The customer cancelled."
    TXN_TIMEOUT = 0x050a "txn.timeout" Warning "A transaction ran out of time."
    TXN_REVERSAL = 0x050b "txn.reversal" Warning "A transaction is taken back."
    TXN_REVERSAL_ACK = 0x050c "txn.reversal_ack" Info "A reversal was confirmed."

    MODE_IN_SERVICE = 0x0601 "mode.in_service" Info "The terminal went in service."
    MODE_OUT_OF_SERVICE = 0x0602 "mode.out_of_service" Major "The terminal went out of service."
    MODE_SUPERVISOR_ENTERED = 0x0603 "mode.supervisor_entered" Warning "Supervisor mode was entered."
    MODE_SUPERVISOR_EXITED = 0x0604 "mode.supervisor_exited" Info "Supervisor mode was left."
    MODE_SUPERVISOR_KEY = 0x0605 "mode.supervisor_key" Info "A key was pressed in supervisor mode."
    MODE_DIAGNOSTICS = 0x0606 "mode.diagnostics" Warning "Diagnostics were started."
    HOST_GO_IN_SERVICE = 0x0607 "host.go_in_service" Info "The host told the terminal to go in service."
    HOST_GO_OUT_OF_SERVICE = 0x0608 "host.go_out_of_service" Warning "The host told the terminal to go out of service."
    HOST_QUERY = 0x0609 "host.query" Info "The host asked the terminal something."
    HOST_DOWNLOAD = 0x060a "host.download" Info "The host sent the terminal configuration data."

    COMMS_LOST = 0x0701 "comms.lost" Critical "A terminal's link is gone."
    COMMS_RESTORED = 0x0702 "comms.restored" Info "A terminal's link is back."
    COMMS_DEGRADED = 0x0703 "comms.degraded" Warning "A terminal's link works badly."
    NET_SIGN_ON = 0x0704 "net.sign_on" Info "Network sign-on."
    NET_SIGN_OFF = 0x0705 "net.sign_off" Info "Network sign-off."
    NET_ECHO = 0x0706 "net.echo" Info "Network echo test."
    NET_MANAGEMENT = 0x0707 "net.management" Info "Another network management message."
    NET_RESPONSE = 0x0708 "net.response" Info "The answer to a network management message."
    POWER_RESTART = 0x0709 "power.restart" Warning "The terminal started after a power failure or reset."
    CLOCK_FAULT = 0x070a "clock.fault" Warning "The terminal's clock is wrong."

    SECURITY_DOOR_OPEN = 0x0801 "security.door_open" Major "A door is open."
    SECURITY_DOOR_CLOSED = 0x0802 "security.door_closed" Info "A door was closed."
    SECURITY_ENCLOSURE_OPEN = 0x0803 "security.enclosure_open" Major "The electronics enclosure is open."
    SECURITY_VIBRATION = 0x0804 "security.vibration" Critical "The vibration or heat sensor is active."
    SECURITY_SILENT_ALARM = 0x0805 "security.silent_alarm" Critical "The silent alarm was given."
    SECURITY_TAMPER = 0x0806 "security.tamper" Critical "Somebody tampers with the terminal."
    SECURITY_SKIMMING_SUSPECTED = 0x0807 "security.skimming_suspected" Critical "A skimming device is suspected."
    SECURITY_FRAUD_ATTEMPT = 0x0808 "security.fraud_attempt" Critical "A fraud attempt was reported."
    SECURITY_CASSETTE_MANIPULATED = 0x0809 "security.cassette_manipulated" Critical "A cassette was manipulated."
    SECURITY_UNAUTHORISED_DISPENSE = 0x080a "security.unauthorised_dispense" Critical "Cash came out that no transaction asked for."
    SECURITY_JACKPOT_SUSPECTED = 0x080b "security.jackpot_suspected" Critical "Several signs of jackpotting together."
    SECURITY_PASSWORD_CHANGED = 0x080c "security.password_changed" Major "A password was changed at the terminal."
    SECURITY_KEY_EVENT = 0x080d "security.key_event" Info "The encryptor reported about its keys."
    SECURITY_ENCRYPTOR_FAULT = 0x080e "security.encryptor_fault" Critical "The encryptor failed."

    COUNTERS_REPORTED = 0x0901 "counters.reported" Info "The terminal reported its counters."
    COUNTERS_CLEARED = 0x0902 "counters.cleared" Info "The terminal's counters were cleared."
    CONFIG_REPORTED = 0x0903 "config.reported" Info "The terminal reported its configuration."
    JOURNAL_BLOCK = 0x0904 "journal.block" Info "A block of the electronic journal arrived."
    JOURNAL_ACK = 0x0905 "journal.ack" Info "A block of the electronic journal was acknowledged."
    JOURNAL_UNPARSED = 0x0906 "journal.unparsed" Info "A journal line whose meaning is not known."
    COMMAND_OK = 0x0907 "command.ok" Info "The terminal reported ready after a command."
    PROTOCOL_ERROR = 0x0908 "protocol.error" Warning "Bytes that nobody understands; masked, with the reason."
    PROTOCOL_COMMAND_REJECT = 0x0909 "protocol.command_reject" Warning "The terminal rejected a message of its host."

    ALERT_RAISED = 0x0a01 "alert.raised" Warning "A rule raised an alert; its severity is the alert's."
    ALERT_CLEARED = 0x0a02 "alert.cleared" Info "A rule's alert is over."

    COMMAND_REQUESTED = 0x0b01 "command.requested" Info "Somebody asked for a command to a terminal."
    COMMAND_DONE = 0x0b02 "command.done" Info "A command was carried out."
    COMMAND_REFUSED = 0x0b03 "command.refused" Warning "A command was refused."
    COMMAND_EXPIRED = 0x0b04 "command.expired" Warning "A command ran out of time before it was delivered."
    COMMAND_UNKNOWN = 0x0b05 "command.unknown" Warning "It is not known whether a command was carried out."
    COMMAND_SENT = 0x0b06 "command.sent" Info "A command is on its way to its terminal."

    GATEWAY_STARTED = 0x0c01 "gateway.started" Info "The gateway started."
    GATEWAY_STOPPED = 0x0c02 "gateway.stopped" Info "The gateway was stopped in order."
    GATEWAY_STORE_REPLACED = 0x0c03 "gateway.store_replaced" Critical "The event store was damaged, set aside, and begun anew."
    GATEWAY_GAP = 0x0c04 "gateway.gap" Critical "Events were given up before they were forwarded; warning where only a rule missed them."
    GATEWAY_UNKNOWN_TERMINAL = 0x0c05 "gateway.unknown_terminal" Warning "A terminal that nobody configured speaks."
    GATEWAY_LINK_FAULT = 0x0c06 "gateway.link_fault" Major "A link's port cannot be opened, or its certificate not be used."
    GATEWAY_LINK_RESTORED = 0x0c07 "gateway.link_restored" Info "A link's port or certificate can be used again."
    GATEWAY_PLUGIN_LOADED = 0x0c08 "gateway.plugin_loaded" Info "A plugin took effect."
    GATEWAY_PLUGIN_REFUSED = 0x0c09 "gateway.plugin_refused" Major "A plugin could not be loaded; the one before stays in force."
    GATEWAY_PLUGIN_REMOVED = 0x0c0a "gateway.plugin_removed" Info "A plugin was taken away."
    GATEWAY_PLUGIN_FAULT = 0x0c0b "gateway.plugin_fault" Major "A plugin trapped or ran out of time; the event was skipped."
    GATEWAY_AUTH_REFUSED = 0x0c0c "gateway.auth_refused" Warning "Somebody who may not come in, or may not do this, was refused."
    GATEWAY_TOKEN_ADDED = 0x0c0d "gateway.token_added" Info "A token took effect."
    GATEWAY_TOKEN_CHANGED = 0x0c0e "gateway.token_changed" Info "A token has a new secret, role, end or list of terminals."
    GATEWAY_TOKEN_REVOKED = 0x0c0f "gateway.token_revoked" Warning "A token was taken away."
    GATEWAY_STORE_RESTORED = 0x0c18 "gateway.store_restored" Major "A backup was restored; a new life of the store began."
    GATEWAY_STORE_REWOUND = 0x0c19 "gateway.store_rewound" Critical "The store's write-ahead log was gone; the newest events may be lost, and a new life of the store began."
    GATEWAY_EVENTS_SALVAGED = 0x0c1a "gateway.events_salvaged" Info "Events of a store that was set aside are pending again; major where some cannot be read."
    GATEWAY_DEAD_LETTERS_REPLAYED = 0x0c1b "gateway.dead_letters_replayed" Info "Dead letters are pending again, because somebody asked for it."
    GATEWAY_CLOCK_SET = 0x0c20 "gateway.clock_set" Info "The gateway's clock is right now; events that were read while it was wrong are dated anew."
    GATEWAY_CLOCK_MOVED = 0x0c21 "gateway.clock_moved" Warning "The gateway's clock was moved while it ran."
    GATEWAY_CONFIG_RELOADED = 0x0c22 "gateway.config_reloaded" Info "A changed configuration took effect without a restart."
    GATEWAY_CONFIG_REFUSED = 0x0c23 "gateway.config_refused" Major "A changed configuration has faults or needs a restart; the one before stays in force."
    GATEWAY_DISK_LOW = 0x0c24 "gateway.disk_low" Critical "The gateway's disk has no room for more: nothing new is accepted."
    GATEWAY_DISK_RECOVERED = 0x0c25 "gateway.disk_recovered" Info "The gateway's disk has room again: events are accepted."

    SOURCE_REPORT = 0x0d01 "source.report" Info "A report of a JSON source that names no kind of this table."
}

/// The number of the kind with this dotted name.
pub fn named(name: &str) -> Option<u16> {
    TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
}

/// The dotted name of the kind with this number; empty for a number that is newer than this SDK.
pub fn name(kind: u16) -> &'static str {
    TABLE.iter().find(|row| row.0 == kind).map_or("", |row| row.1)
}

/// The severity of a kind where nothing raises or lowers it.
pub fn severity(kind: u16) -> Severity {
    TABLE.iter().find(|row| row.0 == kind).map_or(Severity::Info, |row| row.2)
}
