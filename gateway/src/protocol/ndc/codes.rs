//! What transaction status codes (T-codes) and command rejects say, in words for a person.

use crate::event::Device;

/// What a transaction status of a device means; nothing where it is plain success or not documented.
pub fn transaction_status(device: Device, code: char) -> Option<&'static str> {
    use Device as D;
    Some(match (device, code) {
        (D::Clock, '1') => "reset but running",
        (D::Clock, '2') => "stopped",
        (D::CardReader | D::SecondaryCardReader, '1') => "card not taken and captured",
        (D::CardReader | D::SecondaryCardReader, '2') => "card could not be ejected",
        (D::CardReader | D::SecondaryCardReader, '3') => "track could not be written",
        (D::CardReader | D::SecondaryCardReader, '4') => "invalid track data from the host",
        (D::CardReader | D::SecondaryCardReader, '5' | '7') => "track data error",
        (D::CardReader | D::SecondaryCardReader, '9') => "card could not be initialised",
        (D::CashHandler | D::CashHandler0 | D::CashHandler1, '1') => "short dispense",
        (D::CashHandler | D::CashHandler0 | D::CashHandler1, '2') => "no notes dispensed",
        (D::CashHandler | D::CashHandler0 | D::CashHandler1, '3') => "notes dispensed unknown",
        (D::CashHandler | D::CashHandler0 | D::CashHandler1, '4') => "no notes dispensed, card not ejected",
        (D::CashHandler | D::CashHandler0 | D::CashHandler1, '5') => "notes not taken and retracted",
        (D::Depository, '1') => "timed out",
        (D::Depository, '2') => "could not be enabled",
        (D::Depository, '3') => "jammed, the customer has access",
        (D::Depository, '4') => "jammed, the customer has no access",
        (D::ReceiptPrinter | D::JournalPrinter | D::StatementPrinter, '1') => "print failed",
        (D::ReceiptPrinter | D::JournalPrinter | D::StatementPrinter | D::Encryptor, '2') => "not configured",
        (D::ReceiptPrinter, '4') => "cancelled during sideways print",
        (D::ReceiptPrinter, '5') => "receipt retracted",
        (D::JournalPrinter, '6') => "backup activated",
        (D::JournalPrinter, '7') => "backup ended",
        (D::JournalPrinter, '8') => "reprint of the backup started",
        (D::JournalPrinter, '9') => "backup halted",
        (D::JournalPrinter, ':') => "backup log security error",
        (D::JournalPrinter, ';') => "reprint of the backup halted",
        (D::JournalPrinter, '<') => "backup tampered with",
        (D::JournalPrinter, '=') => "electronic journal works beside the printer",
        (D::JournalPrinter, '>') => "electronic journal beside the printer failed",
        (D::StatementPrinter, '3') => "statement in the transport",
        (D::StatementPrinter, '4') => "cancelled",
        (D::Encryptor, '1') => "error",
        (D::CoinDispenser, '1') => "short dispense",
        (D::CoinDispenser, '3') => "coins dispensed unknown",
        (D::CoinDispenser, '4') => "no coins dispensed, card not ejected",
        (D::CoinDispenser, '=') => "tampered with during dispense",
        (D::NoteAcceptor, '1') => "deposit cancelled, refunded or timed out",
        (D::NoteAcceptor, '3') => "error",
        (D::NoteAcceptor, '4') => "inoperative, notes at the slot",
        (D::NoteAcceptor, '5') => "no notes in escrow",
        (D::NoteAcceptor, '6') => "notes found at power-up",
        (D::NoteAcceptor, '7') => "notes retracted",
        (D::NoteAcceptor, '8') => "notes could not be vaulted",
        (D::NoteAcceptor, '?') => "counterfeit notes",
        (D::NoteAcceptor, '@') => "suspect notes",
        _ => return None,
    })
}

/// How a terminal's last transaction ended (11, buffer 2).
pub fn last_transaction(status: char) -> Option<&'static str> {
    Some(match status {
        '0' => "no status sent",
        '1' => "good termination",
        '2' => "error",
        '3' => "reply rejected",
        _ => return None,
    })
}

/// What a transaction reply's function tells the terminal to do.
pub fn reply_function(function: char) -> Option<&'static str> {
    Some(match function {
        '1' | '7' => "deposit",
        '2' | '8' => "dispense",
        '3' | '9' => "display",
        '4' => "print",
        '5' => "next state",
        '6' => "night safe deposit",
        'A' => "card before cash",
        'B' | 'C' => "parallel dispense",
        'P' | 'Q' => "statement",
        '*' => "refund notes",
        '-' | '\'' => "deposit notes",
        ':' => "process cheque",
        _ => return None,
    })
}

/// What a specific command reject (22, descriptor C) means, as far as it is documented.
pub fn reject(code: &str) -> &'static str {
    match code {
        "1" => "MAC check failed",
        "2" => "time variant number check failed",
        "3" => "security terminal number mismatch",
        "A01" => "message length",
        "A02" => "field separator",
        "A03" => "print groups",
        "A04" => "group separator",
        "A06" => "dispense format",
        _ => match code.as_bytes().first() {
            Some(b'B') => "illegal value",
            Some(b'C') => "not possible in the terminal's state",
            _ => "",
        },
    }
}
