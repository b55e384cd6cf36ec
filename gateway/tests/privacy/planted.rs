//! A card number in every place of a message that can hold text: whoever adds a field to a protocol finds it here.

use crate::secret::Secret;

/// What stands for a card number in a template, for a track 2, and for PIN blocks in NDC's and in usual digits.
const CARD: char = '@';
const TRACK: char = '~';
const BLOCK: char = '`';
const HEX: char = '^';

fn filled(template: &str, secret: &Secret) -> String {
    template
        .replace(CARD, &secret.pan)
        .replace(TRACK, &secret.track2())
        .replace(BLOCK, &secret.ndc_pin_block())
        .replace(HEX, &secret.pin_block)
}

/// Statuses of NDC, terminal to host: `|` is a field separator, `&` a group separator.
const NDC: [&str; 34] = [
    "12|@|@|D0",
    "12|001||B@|@|@|@|@",
    "12|001||P1@|0",
    "12|001||P2@|0",
    "12|001||P5@|0",
    "12|001||R@",
    "12|001||V@&@",
    "12|001||D0|0|~|0|@|~",
    "22|001|@|8|P21|@",
    "22|001||9|@|@",
    "22|001||9@",
    "22|001||A|@",
    "22|001||B|@&CAM&@",
    "22|001||C|@|@",
    "22|001||Q|@|`|^|~",
    "22|001||Z@|@",
    "22|001||F|@|@",
    "22|001||F|1@|@|@|@|@|@|@",
    "22|001||F|7@&@&C@|@",
    "22|001||F|7A@&B@&Z@",
    "22|001||F|X@|`|^",
    "23|001||3|@",
    "23|001||2|@",
    "23|001||@|@",
    "61||||@",
    "61||||@@@",
    "61|||||000001181001142259000001000020020@",
    "51|@|@|@",
    "41|001|@|@",
    "99|001|@",
    "11|001||@|12|;~?|@|@|@|`|@|@|2@|4@|5CAM@|9@",
    "11|001||01A2E166|12||;~?|@@@|00010000|`",
    "4|001|@|133|@|@|@|@",
    "3|001||1@|@|@",
];

/// Devices, and terminal states, of which each has fields of its own.
const DEVICES: &str = "ABCDEFGHIKLMPQRVXYZ\\cdefqwz";
const STATES: &str = "1234567HIJKLMNX";

/// Everything that a terminal can say of itself in NDC.
pub(crate) fn ndc(secret: &Secret) -> Vec<u8> {
    let devices = DEVICES.chars().flat_map(|device| {
        ["@", "0@", "1@", "2@", "0"].into_iter().flat_map(move |own| {
            [format!("12|001||{device}{own}|@|@|@|@"), format!("22|001||8|{device}{own}|0@|@|1@|~")]
        })
    });
    let states = STATES
        .chars()
        .flat_map(|state| [format!("22|001||F|{state}@|@|@|@|@"), format!("22|001||F|{state}A@&B@&Z@|C@|~")]);
    let all = NDC.iter().map(|text| (*text).to_owned()).chain(devices).chain(states);
    all.flat_map(|template| {
        crate::said::framed(filled(&template.replace('|', "\x1c").replace('&', "\x1d"), secret).as_bytes())
    })
    .collect()
}

/// Fields of ISO 8583 of 1987 with a fixed length, and with a length in front of so many digits.
const FIXED: [(u8, usize); 28] = [
    (37, 12),
    (38, 6),
    (41, 8),
    (42, 15),
    (43, 40),
    (53, 16),
    (64, 16),
    (66, 1),
    (67, 2),
    (70, 3),
    (71, 4),
    (73, 6),
    (74, 10),
    (82, 12),
    (86, 16),
    (87, 16),
    (88, 16),
    (89, 16),
    (90, 42),
    (91, 1),
    (92, 2),
    (94, 7),
    (95, 42),
    (97, 17),
    (98, 25),
    (128, 16),
    (8, 8),
    (20, 3),
];
const VARIABLE: [(u8, usize); 27] = [
    (2, 2),
    (33, 2),
    (34, 2),
    (35, 2),
    (36, 3),
    (44, 2),
    (45, 2),
    (46, 3),
    (47, 3),
    (48, 3),
    (54, 3),
    (55, 3),
    (56, 3),
    (57, 3),
    (58, 3),
    (59, 3),
    (60, 3),
    (61, 3),
    (62, 3),
    (63, 3),
    (101, 2),
    (102, 2),
    (103, 2),
    (104, 3),
    (110, 3),
    (120, 3),
    (127, 3),
];

/// A request with one field, which is a card number.
pub(crate) fn iso8583(secret: &Secret) -> Vec<u8> {
    // Where a field is shorter, a part of a card number is no card number; where it is longer, it is filled with another.
    let fixed = FIXED.iter().filter(|(_, length)| *length >= secret.pan.len()).map(|(number, length)| {
        let text = if *number == 97 { format!("C{}", secret.pan) } else { secret.pan.repeat(3) };
        (*number, text.chars().take(*length).collect())
    });
    let variable = VARIABLE.iter().map(|(number, digits)| {
        let width = *digits;
        (*number, format!("{:0width$}{}", secret.pan.len(), secret.pan))
    });
    let message = |(number, text): (u8, String)| {
        let bits = 1_u128 << (128 - u32::from(number)) | u128::from(number > 64) << 127;
        let bitmap = if number > 64 { format!("{bits:032X}") } else { format!("{:016X}", bits >> 64) };
        crate::said::framed(format!("0200{bitmap}{text}").as_bytes())
    };
    fixed.chain(variable).flat_map(message).collect()
}

/// A number as printers and people write it.
pub(crate) fn written(secret: &Secret) -> Vec<String> {
    let digits: Vec<String> = secret.pan.chars().map(String::from).collect();
    let fours: Vec<&str> = (0..4).map(|at| &secret.pan[4 * at..4 * at + 4]).collect();
    let mut all: Vec<String> = SEPARATORS.iter().map(|separator| fours.join(separator)).collect();
    all.push(digits.join(" "));
    all.push(format!("{} {} {}", fours[0], fours[1..3].concat(), fours[3]));
    all.push(secret.pan.clone());
    all.push(secret.track2());
    all
}

/// What may stand between the groups of a card number.
pub(crate) const SEPARATORS: [&str; 12] = [" ", "-", ".", "/", "_", "|", ",", ":", "*", "  ", "\u{a0}", "\u{200b}"];

/// Lines of a journal: each way to write a number, a number over two lines, PIN blocks in both forms, a status.
pub(crate) fn journal(secret: &Secret) -> Vec<u8> {
    let (front, back) = secret.pan.split_at(8);
    let mut lines: Vec<String> = written(secret).iter().map(|number| format!("CARD {number} OK")).collect();
    lines.push(format!("CARD {front}\r{back}\rEND"));
    lines.push(format!("PIN BLOCK {}", secret.pin_block.to_lowercase()));
    lines.push(format!("PIN BLOCK {}", secret.ndc_pin_block()));
    lines.push(format!("*8312*1*E*0{pan},M-{pan},R-{pan}", pan = secret.pan));
    lines.push(format!("*8312*1*P*1{pan},M-00,R-0", pan = secret.pan));
    lines.push(format!("*8312*1*D*{pan},M-00,R-0", pan = secret.pan));
    lines.push(format!("10:00:00 {}", secret.track1()));
    lines.iter().flat_map(|line| format!("{line}\rNEXT LINE\r").into_bytes()).collect()
}

/// Lines of JSON: a number in every field and in every way.
pub(crate) fn jsonl(secret: &Secret) -> Vec<u8> {
    let Secret { pan, pin_block, .. } = secret;
    let mut lines = vec![
        format!(r#"{{"kind":"source.report","id":"{pan}"}}"#),
        format!(r#"{{"kind":"source.report","terminal":"{pan}"}}"#),
        format!(r#"{{"kind":"source.report","amount":{{"value":"{pan}","currency":"EUR"}}}}"#),
        format!(r#"{{"kind":"source.report","component":"{pan}","device":"{pan}"}}"#),
        format!(
            r#"{{"kind":"source.report","attributes":{{"pinBlock":"{pin_block}","pinblk":"{}"}}}}"#,
            pin_block.to_lowercase()
        ),
        format!(r#"{{"kind":"source.report","attributes":{{"deep":{{"{pan}":[{{"{pan}":"{pan}"}}]}}}}}}"#),
        format!(r#"{{"hello":"{pan}"}}"#),
        format!(r#"{{"{pan}":1}}"#),
    ];
    for number in written(secret) {
        // The rule under test says what it is handed: the first as an alert, the second in the log.
        lines.push(format!(
            r#"{{"kind":"source.report","detail":"{number}","attributes":{{"do":"echo","number":"{number}"}}}}"#
        ));
        lines.push(format!(r#"{{"kind":"source.report","attributes":{{"do":"handed {number}"}}}}"#));
        lines.push(format!(r#"{{"kind":"source.report","card":"{number}","attributes":{{"fitness_raw":"{number}","groups":{{"C":"{number}"}}}}}}"#));
    }
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// Messages of an XFS4IoT service with a number in every name and every value.
pub(crate) fn xfs4iot(secret: &Secret) -> Vec<String> {
    let said = |kind: &str, name: &str, more: &str, payload: &str| {
        format!(r#"{{"header":{{"type":"{kind}","name":"{name}"{more}}},"payload":{payload}}}"#)
            .replace(CARD, &secret.pan)
    };
    vec![
        said(
            "unsolicited",
            "Common.StatusChangedEvent",
            "",
            r#"{"common":{"device":"@","@":"x"},"@":{"@":"@"},"cardReader":{"media":"@"}}"#,
        ),
        said(
            "unsolicited",
            "Storage.StorageThresholdEvent",
            "",
            r#"{"@":{"status":"missing"},"unit1":{"id":"@","status":"@","cash":{"status":{"replenishmentStatus":"@"}}}}"#,
        ),
        said("unsolicited", "Storage.StorageErrorEvent", "", r#"{"failure":"@"}"#),
        said("unsolicited", "CardReader.@", "", r#"{"position":"@","to":"@"}"#),
        said("unsolicited", "CardReader.CardActionEvent", "", r#"{"from":"@","to":"@"}"#),
        said("unsolicited", "Common.ErrorEvent", "", r#"{"eventId":"@","action":"@","vendorDescription":"@"}"#),
        said("event", "Printer.PaperThresholdEvent", "", r#"{"paperSource":"@","threshold":"@"}"#),
        said("acknowledge", "A.B", r#","requestId":@,"status":"@""#, "{}"),
        said("completion", "A.B", r#","requestId":1,"completionCode":"@""#, r#"{"errorCode":"@"}"#),
        said(
            "completion",
            "ServicePublisher.GetServices",
            r#","requestId":1,"completionCode":"success""#,
            r#"{"services":[{"serviceURI":"ws://x/@"}]}"#,
        ),
        said("@", "A.B", "", "{}"),
    ]
}

/// An uploaded file with a number in every text.
pub(crate) fn upload(secret: &Secret) -> Vec<u8> {
    let all = written(secret).join("; ");
    let document = format!(
        r#"{{"Region":[{{"id":1,"regionName":"@"}}],"Branch":[{{"branchId":1,"branchName":"@","regionId":1}}],
        "Group":[{{"groupId":1,"groupName":"@","groupDescription":"@","groupType":"Dynamic","groupRule":{{"software":"@"}}}}],
        "Device":[{{"deviceId":1,"deviceModel":"@","deviceManufacturer":"@","deviceSerialNumber":"@"}}],
        "ATM":[{{"atmId":12,"atmName":"@","networkAddress":"@","timezone":"@","subnet":"@","status":"@","last_cash_replenishment":"@","software_version":"@"}}],
        "AtmDevice":[{{"atmId":12,"deviceId":1,"deviceStatus":"@"}}],
        "ElectronicJournal":[{{"ejId":9001,"atmId":12,"timestamp":"@","ejData":"{all} pin {pin}"}}],
        "Event":[{{"eventId":9001,"eventName":"@","eventLevel":"@","ejId":9001}}],
        "Transaction":[{{"transactionId":9001,"transactionType":"@","transactionDetail":"{all}","ejId":9001}}]}}"#,
        pin = secret.pin_block.to_lowercase(),
    );
    let document = document.replace(CARD, &secret.pan);
    format!("{}.json<>{}{document}", secret.pan, document.len()).into_bytes()
}

/// Bodies of Triton frames with a number in every field.
pub(crate) fn triton(secret: &Secret) -> Vec<String> {
    let templates = [
        "@|11|0042|~|00010000|00000250|^|@|@",
        "EXATM0017|11|@|@|@|@|@|@",
        "EXATM0017|31|0042||||@|",
        "0|EXATM0017|11|0042|000|@|@|@|@|@|@|@|@",
        "0|EXATM0017|11|0042|@|12345678|112030|213000|112030|00010000|00090000||",
        "EXATM0017|50|@|@|",
        "EXATM0017|60|@^|",
    ];
    templates.iter().map(|template| filled(&template.replace('|', "\x1c"), secret)).collect()
}

/// Paths that somebody asks for with a number in them.
pub(crate) fn paths(secret: &Secret) -> Vec<String> {
    let templates = [
        "/@",
        "/api/v1/@",
        "/api/v1/terminals/@",
        "/api/v1/terminals?@=1",
        "/api/v1/terminals?limit=@",
        "/api/v1/terminals?branch=@",
        "/api/v1/groups/@",
        "/api/v1/commands/@",
        "/api/v1/commands?state=@",
        "/api/v1/commands?terminal=@&limit=@",
        "/api/v1/journal?@=1",
        "/api/v1/journal?terminal=@",
        "/api/v1/journal?terminal=journal&date=@",
        "/api/v1/journal?terminal=journal&cursor=@",
        "/api/v1/journal?terminal=journal&limit=@",
        "/api/v1/journal?terminal=journal&grep=%28@",
        "/api/v1/journal?terminal=journal&grep=@",
        "/metrics/@?@",
    ];
    templates.iter().map(|template| template.replace(CARD, &secret.pan)).collect()
}
