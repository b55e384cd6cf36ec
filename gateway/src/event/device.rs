//! The devices of a terminal.
//!
//! NDC names a device by one character, the device identifier graphic (DIG); the numbers here are part of the plugin
//! contract and follow the order of the table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! devices {
    ($($variant:ident = $code:literal $dig:literal $name:literal)*) => {
        /// A device of a terminal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Device {
            $(#[doc = $name] $variant,)*
            /// A device whose NDC identifier nobody documented; `device_` and its byte in hex.
            Other(u8),
        }

        impl Device {
            /// The device that NDC calls by this graphic.
            pub fn from_dig(dig: u8) -> Device {
                match dig { $($dig => Device::$variant,)* other => Device::Other(other) }
            }

            /// The number in the plugin contract; a device nobody documented is 0x100 and its graphic.
            pub fn code(self) -> u16 {
                match self { $(Device::$variant => $code,)* Device::Other(dig) => 0x100 | u16::from(dig) }
            }

            /// The device with this number.
            pub fn from_code(code: u16) -> Option<Device> {
                match code {
                    $($code => Some(Device::$variant),)*
                    0x100..=0x1ff => Some(Device::Other((code & 0xff) as u8)),
                    _ => None,
                }
            }
        }

        impl fmt::Display for Device {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Device::$variant => f.write_str($name),)* Device::Other(dig) => write!(f, "device_{dig:02x}") }
            }
        }

        impl FromStr for Device {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Device::$variant),)*
                    _ => text
                        .strip_prefix("device_")
                        .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                        .map(Device::Other)
                        .ok_or_else(|| format!("unknown device `{text}`")),
                }
            }
        }
    };
}

devices! {
    Clock = 1 b'A' "clock"
    Power = 2 b'B' "power"
    Disk = 3 b'C' "disk"
    CardReader = 4 b'D' "card_reader"
    CashHandler = 5 b'E' "cash_handler"
    Depository = 6 b'F' "depository"
    ReceiptPrinter = 7 b'G' "receipt_printer"
    JournalPrinter = 8 b'H' "journal_printer"
    NightSafe = 9 b'K' "night_safe"
    Encryptor = 10 b'L' "encryptor"
    Camera = 11 b'M' "camera"
    DoorAccess = 12 b'N' "door_access"
    FlexDisk = 13 b'O' "flex_disk"
    Sensors = 14 b'P' "sensors"
    TouchScreen = 15 b'Q' "touch_screen"
    OperatorKeys = 16 b'R' "operator_keys"
    CardholderDisplay = 17 b'S' "cardholder_display"
    StatementPrinter = 18 b'V' "statement_printer"
    Passbook = 19 b'X' "passbook"
    CoinDispenser = 20 b'Y' "coin_dispenser"
    SystemDisplay = 21 b'Z' "system_display"
    MediaEntryIndicators = 22 b'[' "media_entry_indicators"
    EnvelopeDispenser = 23 b'\\' "envelope_dispenser"
    VoiceGuidance = 24 b'a' "voice_guidance"
    EmvReader = 25 b'c' "emv_reader"
    CashHandler0 = 26 b'd' "cash_handler_0"
    CashHandler1 = 27 b'e' "cash_handler_1"
    BarcodeReader = 28 b'f' "barcode_reader"
    Ups = 29 b'j' "ups"
    ChequeProcessor = 30 b'q' "cheque_processor"
    NoteAcceptor = 31 b'w' "note_acceptor"
    SecondaryCardReader = 32 b'y' "secondary_card_reader"
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_graphic_reads_back_by_name_and_number() {
        for dig in 0..=u8::MAX {
            let device = Device::from_dig(dig);
            assert_eq!(device.to_string().parse(), Ok(device));
            assert_eq!(Device::from_code(device.code()), Some(device));
        }
    }
}
