//! What the codes mean: processing code, response code of 1987, action code of 1993, network management codes.

/// What an issuer or a network decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Whether the transaction may go on.
    pub approved: bool,
    /// Whether a refusal is an everyday one: nothing is wrong with terminal, card or network.
    pub everyday: bool,
    /// Whether the terminal is to keep the card.
    pub capture: bool,
    /// In words; empty where the code is a network's own.
    pub meaning: &'static str,
}

/// What a network management message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A session begins.
    SignOn,
    /// A session ends.
    SignOff,
    /// Whether the other side is there.
    Echo,
    /// Anything else, in words; empty where the code is a network's own.
    Management(&'static str),
}

/// The kind of transaction that a processing code (field 3) begins with; nothing for codes that networks define.
///
/// 47 to 49 are transfers too (40 to 49 are), but of a kind that a country or a network defines.
pub fn transaction_type(processing_code: &str) -> Option<&'static str> {
    Some(match processing_code.get(..2)? {
        "00" => "purchase",
        "01" => "withdrawal",
        "02" => "debit_adjustment",
        "09" => "purchase_with_cashback",
        "20" => "refund",
        "21" => "deposit",
        "22" => "credit_adjustment",
        "24" => "cheque_deposit",
        "30" | "31" => "balance",
        "40" => "transfer",
        "47" | "48" | "49" => "transfer(private)",
        "50" => "payment",
        _ => return None,
    })
}

/// What a response means: field 39 of a message of this version.
///
/// Of 1987 only 00 counts as approved. The approvals with a condition (08, 10, 11, 16) are not what was asked for, and
/// are told by their meaning.
pub fn response(version: u8, code: &str) -> Response {
    let meaning = meaning(version, code);
    if version == 0 {
        Response {
            approved: code == "00",
            everyday: matches!(code, "05" | "51" | "54" | "55" | "61"),
            capture: matches!(code, "04" | "07" | "33" | "34" | "35" | "36" | "37" | "38" | "41" | "43" | "67"),
            meaning,
        }
    } else {
        // Action codes of 2003 have a fourth digit, which refines the third.
        let family = code.as_bytes().first();
        Response {
            // An advice that is acknowledged (900, 901) is not refused.
            approved: family == Some(&b'0') || matches!(code.get(..3), Some("900" | "901")),
            // The same refusals: do not honour, expired card, funds, PIN, amount limit.
            everyday: matches!(code.get(..3), Some("100" | "101" | "116" | "117" | "121")),
            capture: family == Some(&b'2'),
            meaning,
        }
    }
}

/// What a network management code is for: field 70 of 1987, field 24 of 1993.
pub fn network(version: u8, code: &str) -> Network {
    match (version, code) {
        (0, "001") | (1.., "801") => Network::SignOn,
        (0, "002") | (1.., "802") => Network::SignOff,
        (0, "301") | (1.., "831") => Network::Echo,
        (0, "101" | "161" | "162") | (1.., "811") => Network::Management("key change"),
        (0, "201" | "202") | (1.., "821" | "822") => Network::Management("cutover"),
        _ => Network::Management(""),
    }
}

fn meaning(version: u8, code: &str) -> &'static str {
    let table: &[(&str, &str)] = if version == 0 { &RESPONSES_1987 } else { &ACTIONS_1993 };
    let code = if version == 0 { code } else { code.get(..3).unwrap_or(code) };
    table.iter().find(|row| row.0 == code).map_or("", |row| row.1)
}

/// Response codes of ISO 8583:1987 (its table of codes; 61 to 68 and 75 as networks have agreed on them).
const RESPONSES_1987: [(&str, &str); 71] = [
    ("00", "approved"),
    ("01", "refer to card issuer"),
    ("02", "refer to card issuer, special condition"),
    ("03", "invalid merchant"),
    ("04", "keep the card"),
    ("05", "do not honour"),
    ("06", "error"),
    ("07", "keep the card, special condition"),
    ("08", "honour with identification"),
    ("09", "request in progress"),
    ("10", "approved for a partial amount"),
    ("11", "approved, VIP"),
    ("12", "invalid transaction"),
    ("13", "invalid amount"),
    ("14", "invalid card number"),
    ("15", "no such issuer"),
    ("16", "approved, update track 3"),
    ("17", "cancelled by the customer"),
    ("18", "disputed by the customer"),
    ("19", "enter the transaction again"),
    ("20", "invalid response"),
    ("21", "no action taken"),
    ("22", "malfunction suspected"),
    ("23", "unacceptable transaction fee"),
    ("24", "file update not supported"),
    ("25", "record not found"),
    ("26", "duplicate record"),
    ("27", "file update: field error"),
    ("28", "file update: file locked"),
    ("29", "file update failed"),
    ("30", "format error"),
    ("31", "bank not supported by the switch"),
    ("32", "completed in part"),
    ("33", "expired card, keep it"),
    ("34", "fraud suspected, keep the card"),
    ("35", "contact the acquirer, keep the card"),
    ("36", "restricted card, keep it"),
    ("37", "call the acquirer's security, keep the card"),
    ("38", "PIN tries exceeded, keep the card"),
    ("39", "no credit account"),
    ("40", "function not supported"),
    ("41", "lost card, keep it"),
    ("42", "no universal account"),
    ("43", "stolen card, keep it"),
    ("44", "no investment account"),
    ("51", "insufficient funds"),
    ("52", "no cheque account"),
    ("53", "no savings account"),
    ("54", "expired card"),
    ("55", "wrong PIN"),
    ("56", "no card record"),
    ("57", "transaction not permitted to the cardholder"),
    ("58", "transaction not permitted to the terminal"),
    ("59", "fraud suspected"),
    ("60", "contact the acquirer"),
    ("61", "withdrawal amount limit exceeded"),
    ("62", "restricted card"),
    ("63", "security violation"),
    ("64", "original amount wrong"),
    ("65", "withdrawal frequency limit exceeded"),
    ("66", "call the acquirer's security"),
    ("67", "keep the card at the terminal"),
    ("68", "response received too late"),
    ("75", "PIN tries exceeded"),
    ("90", "cutover in progress"),
    ("91", "issuer or switch does not answer"),
    ("92", "no route to the destination"),
    ("93", "violation of law"),
    ("94", "duplicate transmission"),
    ("95", "reconciliation error"),
    ("96", "system malfunction"),
];

/// Action codes of ISO 8583:1993.
const ACTIONS_1993: [(&str, &str); 73] = [
    ("000", "approved"),
    ("001", "honour with identification"),
    ("002", "approved for a partial amount"),
    ("003", "approved, VIP"),
    ("004", "approved, update track 3"),
    ("100", "do not honour"),
    ("101", "expired card"),
    ("102", "fraud suspected"),
    ("103", "contact the acquirer"),
    ("104", "restricted card"),
    ("105", "call the acquirer's security"),
    ("106", "PIN tries exceeded"),
    ("107", "refer to card issuer"),
    ("108", "refer to card issuer, special condition"),
    ("109", "invalid merchant"),
    ("110", "invalid amount"),
    ("111", "invalid card number"),
    ("112", "PIN data required"),
    ("113", "unacceptable fee"),
    ("114", "no account of the type requested"),
    ("115", "function not supported"),
    ("116", "insufficient funds"),
    ("117", "wrong PIN"),
    ("118", "no card record"),
    ("119", "transaction not permitted to the cardholder"),
    ("120", "transaction not permitted to the terminal"),
    ("121", "withdrawal amount limit exceeded"),
    ("122", "security violation"),
    ("123", "withdrawal frequency limit exceeded"),
    ("124", "violation of law"),
    ("125", "card not effective"),
    ("126", "invalid PIN block"),
    ("127", "PIN length error"),
    ("128", "PIN keys out of step"),
    ("129", "counterfeit card suspected"),
    ("200", "do not honour, keep the card"),
    ("201", "expired card, keep it"),
    ("202", "fraud suspected, keep the card"),
    ("203", "contact the acquirer, keep the card"),
    ("204", "restricted card, keep it"),
    ("205", "call the acquirer's security, keep the card"),
    ("206", "PIN tries exceeded, keep the card"),
    ("207", "special condition, keep the card"),
    ("208", "lost card, keep it"),
    ("209", "stolen card, keep it"),
    ("210", "counterfeit card suspected, keep it"),
    ("300", "file action successful"),
    ("301", "file action not supported"),
    ("302", "record not found"),
    ("303", "duplicate record, the old one replaced"),
    ("304", "file action: field error"),
    ("305", "file action: file locked"),
    ("306", "file action failed"),
    ("400", "reversal accepted"),
    ("500", "reconciled, in balance"),
    ("501", "reconciled, out of balance"),
    ("600", "administrative message accepted"),
    ("800", "network management accepted"),
    ("900", "advice acknowledged, no liability accepted"),
    ("901", "advice acknowledged, liability accepted"),
    ("902", "invalid transaction"),
    ("903", "enter the transaction again"),
    ("904", "format error"),
    ("905", "acquirer not supported by the switch"),
    ("906", "cutover in progress"),
    ("907", "issuer or switch does not answer"),
    ("908", "no route to the destination"),
    ("909", "system malfunction"),
    ("910", "issuer signed off"),
    ("911", "issuer timed out"),
    ("912", "issuer not available"),
    ("913", "duplicate transmission"),
    ("921", "security error"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        for table in [&RESPONSES_1987[..], &ACTIONS_1993[..]] {
            assert!(table.is_sorted_by(|one, next| one.0 < next.0));
        }
    }

    #[test]
    fn responses_of_both_versions() {
        for (version, code, approved, everyday, capture) in [
            (0, "00", true, false, false),
            (0, "51", false, true, false),
            (0, "75", false, false, false),
            (0, "38", false, false, true),
            (0, "X9", false, false, false),
            (1, "000", true, false, false),
            (1, "003", true, false, false),
            (1, "116", false, true, false),
            (1, "106", false, false, false),
            (1, "901", true, false, false),
            (1, "909", false, false, false),
            (1, "208", false, false, true),
            (2, "1160", false, true, false),
            (1, "", false, false, false),
        ] {
            let response = response(version, code);
            assert_eq!(
                (response.approved, response.everyday, response.capture),
                (approved, everyday, capture),
                "{code}"
            );
        }
        assert_eq!(response(2, "2080").meaning, "lost card, keep it");
    }
}
