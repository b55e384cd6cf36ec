//! What terminals say with a card in it, in every protocol, and in frames that nobody understands.

use crate::secret::{Secret, hex_of_text, packed};

/// Two bytes of length, and the frame.
pub(crate) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u16::try_from(frame.len()).expect("short").to_be_bytes();
    [&length, frame].concat()
}

/// A frame whole, and cut short at a place that changes.
fn whole_and_cut(frame: &[u8], place: usize) -> Vec<u8> {
    let cut = 1 + place * 7 % (frame.len() - 1);
    [framed(frame), framed(&frame[..cut])].concat()
}

/// A transaction request, and an uploaded block of the journal.
pub(crate) fn ndc(secret: &Secret, place: usize) -> Vec<u8> {
    let request = format!(
        "11|001000001||01A2E166|12|;{track2}?|{track2}| DB   AD|00010000|{pin}|{pan}|{pin}|1%{track1}?|\
         21639100000000000000000000|5CAM0000{chip}|3FF7AA85",
        track2 = secret.track2(),
        track1 = secret.track1(),
        pin = secret.ndc_pin_block(),
        pan = secret.pan,
        chip = secret.chip(),
    );
    let text = format!("PAN {}\rTRACK 2 ;{}?\r", secret.pan, secret.track2());
    let last = 275_186 + text.len();
    let block = format!("61||||{:018}275186{last:06}{:03}{text}", place, text.len());
    let frames = [request, block].map(|text| text.replace('|', "\x1c"));
    frames.iter().flat_map(|frame| whole_and_cut(frame.as_bytes(), place)).collect()
}

/// A financial request in ASCII.
pub(crate) fn iso8583(secret: &Secret, place: usize) -> Vec<u8> {
    let ll = |text: &str| format!("{:02}{text}", text.len());
    let lll = |text: &str| format!("{:03}{text}", text.len());
    let fields = [
        (2, ll(&secret.pan)),
        (3, "011000".to_owned()),
        (4, "000000010000".to_owned()),
        (7, "1120213000".to_owned()),
        (11, format!("{:06}", place)),
        (35, ll(&secret.track2())),
        (41, "ATM00017".to_owned()),
        (45, ll(&secret.track1())),
        (48, lll(&format!("REF {}", secret.pan))),
        (49, "826".to_owned()),
        (52, secret.pin_block.clone()),
        (55, lll(&secret.chip())),
    ];
    let bitmap = fields.iter().fold(0_u64, |bits, (number, _)| bits | 1 << (64 - number));
    let body: String = fields.iter().map(|(_, text)| text.as_str()).collect();
    whole_and_cut(format!("0200{bitmap:016X}{body}").as_bytes(), place)
}

/// A customer's session as a printer prints it.
pub(crate) fn journal(secret: &Secret, _: usize) -> Vec<u8> {
    let groups: Vec<&str> = (0..4).map(|at| &secret.pan[4 * at..4 * at + 4]).collect();
    format!(
        "*TRANSACTION START*\r10:00:01 CARD INSERTED\r  PAN {pan}\r  CARD {grouped}\r10:00:02 TRACK 2 DATA: ;{track2}?\r\
         TRACK 1 %{track1}?\r10:00:09 PIN ENTERED\r\x00\x01{pan}{track2}\x02\r10:00:20 *TRANSACTION END*\r",
        pan = secret.pan,
        grouped = groups.join(" "),
        track2 = secret.track2(),
        track1 = secret.track1(),
    )
    .into_bytes()
}

/// A line that is taken, one that is not, and one that is no JSON.
pub(crate) fn jsonl(secret: &Secret, place: usize) -> Vec<u8> {
    let Secret { pan, pin_block, .. } = secret;
    let (track1, track2) = (secret.track1(), secret.track2());
    format!(
        "{{\"id\":\"{place}\",\"kind\":\"card.inserted\",\"card\":\"{pan}\",\"detail\":\"card {pan} ;{track2}?\",\
         \"attributes\":{{\"note\":\"%{track1}?\",\"track2\":\"{track2}\",\"pin_block\":\"{pin_block}\",\"n\":{pan},\"{pan}\":1}}}}\n\
         {{\"kind\":\"card.eaten\",\"detail\":\"{track2}\",\"pin\":\"{pin_block}\"}}\n\
         {track1} {pan} {pin_block}\n"
    )
    .into_bytes()
}

/// A withdrawal, as the body of a Triton frame.
pub(crate) fn triton(secret: &Secret, place: usize) -> String {
    format!("EXATM0017\x1c11\x1c{place:04}\x1c{}\x1c00010000\x1c00000250\x1c{}\x1c", secret.track2(), secret.pin_block)
}

/// What a card reader and a keypad answer to somebody else's commands.
pub(crate) fn xfs4iot(secret: &Secret) -> [String; 3] {
    let message = |name: &str, payload: String| {
        format!(
            "{{\"header\":{{\"name\":\"{name}\",\"requestId\":7,\"type\":\"completion\",\"completionCode\":\"success\"}},\"payload\":{payload}}}"
        )
    };
    let (track1, track2) = (secret.track1(), secret.track2());
    [
        message(
            "CardReader.ReadRawData",
            format!(
                "{{\"track1\":{{\"data\":\"{track1}\"}},\"track2\":{{\"data\":\"{track2}\"}},\"chip\":[{{\"data\":\"{}\"}}]}}",
                secret.chip()
            ),
        ),
        message("PinPad.GetPinBlock", format!("{{\"pinBlock\":\"{}\"}}", secret.pin_block)),
        format!("{{\"header\":{{\"name\":\"{}\",\"payload\":\"{track2}", secret.pan),
    ]
}

/// An uploaded file whose journal and whose events have a card in them.
pub(crate) fn upload(secret: &Secret, place: usize) -> Vec<u8> {
    let document = format!(
        "{{\"ATM\":[{{\"atmId\":12,\"atmName\":\"Kiosk\"}}],\"ElectronicJournal\":[{{\"ejId\":{place},\"atmId\":12,\
         \"ejData\":\"PAN {pan} TRACK ;{track2}? %{track1}?\"}}],\"Transaction\":[{{\"transactionId\":{place},\
         \"transactionType\":\"Card Payment\",\"transactionDetails\":\"Card number: {pan}, {pan}={expiry}\"}}]}}",
        pan = secret.pan,
        expiry = secret.expiry,
        track1 = secret.track1(),
        track2 = secret.track2(),
    );
    format!("{}.json<>{}{document}", secret.pan, document.len()).into_bytes()
}

/// A message of bytes that mean nothing, with a card in every form.
pub(crate) fn noise(secret: &Secret) -> Vec<u8> {
    let text = format!("{}\x1c{}\x1c{}", hex_of_text(&secret.pan), secret.chip(), secret.pin_block);
    framed(&[text.as_bytes(), &packed(&secret.pan), &packed(&secret.pin_block)].concat())
}

/// A Triton frame of this body: seven bits and even parity, with its check.
pub(crate) fn triton_frame(body: &str) -> Vec<u8> {
    let checked: Vec<u8> = body.bytes().chain([0x03]).collect();
    let check = checked.iter().fold(0, |check, byte| check ^ byte);
    let parity = |byte: u8| if byte.count_ones() % 2 == 1 { byte | 0x80 } else { byte };
    std::iter::once(0x02).chain(checked).chain([check]).map(parity).collect()
}
