//! The devices of a terminal. A test of the gateway compares this file with its own table.

macro_rules! devices {
    ($($constant:ident = $code:literal $name:literal)*) => {
        $(#[doc = $name] pub const $constant: u16 = $code;)*

        /// Number and name of every device.
        pub const TABLE: &[(u16, &str)] = &[$(($code, $name)),*];
    };
}

devices! {
    CLOCK = 1 "clock"
    POWER = 2 "power"
    DISK = 3 "disk"
    CARD_READER = 4 "card_reader"
    CASH_HANDLER = 5 "cash_handler"
    DEPOSITORY = 6 "depository"
    RECEIPT_PRINTER = 7 "receipt_printer"
    JOURNAL_PRINTER = 8 "journal_printer"
    NIGHT_SAFE = 9 "night_safe"
    ENCRYPTOR = 10 "encryptor"
    CAMERA = 11 "camera"
    DOOR_ACCESS = 12 "door_access"
    FLEX_DISK = 13 "flex_disk"
    SENSORS = 14 "sensors"
    TOUCH_SCREEN = 15 "touch_screen"
    OPERATOR_KEYS = 16 "operator_keys"
    CARDHOLDER_DISPLAY = 17 "cardholder_display"
    STATEMENT_PRINTER = 18 "statement_printer"
    PASSBOOK = 19 "passbook"
    COIN_DISPENSER = 20 "coin_dispenser"
    SYSTEM_DISPLAY = 21 "system_display"
    MEDIA_ENTRY_INDICATORS = 22 "media_entry_indicators"
    ENVELOPE_DISPENSER = 23 "envelope_dispenser"
    VOICE_GUIDANCE = 24 "voice_guidance"
    EMV_READER = 25 "emv_reader"
    CASH_HANDLER_0 = 26 "cash_handler_0"
    CASH_HANDLER_1 = 27 "cash_handler_1"
    BARCODE_READER = 28 "barcode_reader"
    UPS = 29 "ups"
    CHEQUE_PROCESSOR = 30 "cheque_processor"
    NOTE_ACCEPTOR = 31 "note_acceptor"
    SECONDARY_CARD_READER = 32 "secondary_card_reader"
}

/// The number of the device with this name; `device_` and a byte in hex is one that nobody documented.
pub fn named(name: &str) -> Option<u16> {
    let other = || u8::from_str_radix(name.strip_prefix("device_")?, 16).ok().map(|byte| 0x100 | u16::from(byte));
    TABLE.iter().find(|row| row.1 == name).map(|row| row.0).or_else(other)
}
