//! Certificates have dates, and a clock that is not set makes good ones fail: which time they are judged by, and how it is
//! said that it is the clock that has to be mended.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock;

/// The time by which certificates are judged: a clock that was right and is moved by hand makes none fail.
#[derive(Debug)]
pub(super) struct Judged;

impl TimeProvider for Judged {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(clock::judged().as_second()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// What is wrong with the dates of a certificate, and with the clock that they were held against: `is not valid before …`.
/// `None` where its dates are not what is wrong.
pub(crate) fn dates(fault: &CertificateError) -> Option<String> {
    let clock = (clock::judged(), clock::now().1);
    told(fault, &clock)
}

/// The same for a handshake that failed.
pub(crate) fn dates_of(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(fault) => dates(fault),
        _ => None,
    }
}

fn told(fault: &CertificateError, clock: &(Timestamp, Option<bool>)) -> Option<String> {
    let fault = match fault {
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidYet => "is not valid yet".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("expired on {}", date(*not_after)),
        CertificateError::Expired => "has expired".to_owned(),
        _ => return None,
    };
    Some(format!("{fault}; {}", says(clock)))
}

/// What this machine's clock shows, and whether it is the one to mend.
fn says((now, synced): &(Timestamp, Option<bool>)) -> String {
    let end = if *synced == Some(false) { ", and it is not set: it waits for network time" } else { "" };
    format!("this gateway's clock says {}{end}", now.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "a date out of range".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_clock_that_is_not_set_is_named() {
        let fault = CertificateError::NotValidYetContext { time: at(60), not_before: at(1_764_000_000) };
        let now: Timestamp = "2026-11-20T21:42:06Z".parse().expect("a time");
        let sentence = told(&fault, &(now, Some(false))).expect("is about dates");
        assert!(sentence.starts_with("is not valid before 2025-11-24T16:00:00Z; "), "{sentence}");
        assert!(sentence.ends_with("it is not set: it waits for network time"), "{sentence}");
        let expired = CertificateError::ExpiredContext { time: at(0), not_after: at(1_764_000_000) };
        let sentence = told(&expired, &(now, Some(true)));
        let expected = "expired on 2025-11-24T16:00:00Z; this gateway's clock says 2026-11-20T21:42:06Z";
        assert_eq!(sentence.as_deref(), Some(expected));
        assert_eq!(told(&CertificateError::UnknownIssuer, &(now, None)), None);
    }
}
