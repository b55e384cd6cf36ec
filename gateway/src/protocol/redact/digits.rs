//! Digits that may be a card number, found and overwritten in their places.

/// Shortest card number, and the digits of one that may stay in front and behind.
pub(super) const SHORTEST: usize = 12;
const FRONT: usize = 6;
const BACK: usize = 4;

/// Every run of digits that is long enough.
pub(in crate::protocol) fn any(_: &[u8]) -> bool {
    true
}

/// Whether a run of digits looks like a card number that was issued (ISO/IEC 7812: industry digit, check digit).
pub(super) fn issued(run: &[u8]) -> bool {
    let digits: Vec<u32> = run.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect();
    let check: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double @ 10..) => double - 9,
            (_, double) => double,
        })
        .sum();
    (13..=19).contains(&digits.len()) && matches!(digits.first(), Some(2..=6)) && check.is_multiple_of(10)
}

/// Overwrites card numbers wherever they stand, and the stripe's data behind them.
pub(in crate::protocol) fn numbers(bytes: &mut [u8], is_one: fn(&[u8]) -> bool) {
    let mut at = 0;
    while at < bytes.len() {
        let (end, digits) = run(&bytes[at..]);
        if digits < SHORTEST || !is_one(&bytes[at..at + end]) {
            at += end.max(1);
            continue;
        }
        let shown = bytes[at..at + end].iter_mut().filter(|byte| byte.is_ascii_digit());
        for (_, byte) in shown.enumerate().filter(|(nth, _)| *nth >= FRONT && nth + BACK < digits) {
            *byte = b'0';
        }
        at += end;
        if matches!(bytes.get(at), Some(b'=' | b'D' | b'^')) {
            at += 1;
            while let Some(byte) = bytes.get_mut(at).filter(|byte| !byte.is_ascii_control() && !b"?\"".contains(byte)) {
                overwrite(byte);
                at += 1;
            }
        }
    }
}

/// The run of digits in front, single spaces and hyphens between them included: its length, and how many digits it has.
pub(super) fn run(bytes: &[u8]) -> (usize, usize) {
    let (mut end, mut digits) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => (end, digits) = (at + 1, digits + 1),
            b' ' | b'-' if at > 0 && end == at => {}
            _ => break,
        }
    }
    (end, digits)
}

/// Keeps separators and what kind of character it was.
pub(in crate::protocol) fn overwrite(byte: &mut u8) {
    *byte = match *byte {
        b'0'..=b'?' if *byte != b'=' => b'0',
        b'A'..=b'Z' | b'a'..=b'z' => b'A',
        0x80.. => b'.',
        other => other,
    };
}
