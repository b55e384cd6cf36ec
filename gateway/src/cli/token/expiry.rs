//! When a token ends, as people say it.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// After a time, with a day, or at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    After(Span),
    With(Date),
    At(Timestamp),
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A date is asked for first: a span would take nothing of it.
        let date = (text.len() == 10).then(|| text.parse().ok()).flatten().map(Expiry::With);
        date.or_else(|| text.parse().ok().map(Expiry::At)).or_else(|| text.parse().ok().map(Expiry::After)).ok_or_else(
            || "say a time (`90d`, `12h`), a day (`2027-03-31`) or an instant (`2027-03-31T18:00:00Z`)".to_owned(),
        )
    }
}

impl Expiry {
    /// The instant; a sentence where it is not to come.
    pub(super) fn after(self, now: Timestamp) -> Result<Timestamp, String> {
        let utc = |date: Date| date.tomorrow().and_then(|date| date.to_zoned(TimeZone::UTC));
        let end = match self {
            Expiry::After(span) => now.to_zoned(TimeZone::UTC).checked_add(span),
            Expiry::With(date) => utc(date),
            Expiry::At(instant) => Ok(instant.to_zoned(TimeZone::UTC)),
        };
        let end = end.map_err(|error| error.to_string())?.timestamp();
        if end > now { Ok(end) } else { Err(format!("{end} is not to come: the token would end before it begins")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_say_it_in_three_ways() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        for (text, end) in [
            ("90d", Some("2027-02-19T10:00:00Z")),
            ("12h", Some("2026-11-21T22:00:00Z")),
            ("1y", Some("2027-11-21T10:00:00Z")),
            ("2026-11-21", Some("2026-11-22T00:00:00Z")),
            ("2027-01-01T00:00:00+02:00", Some("2026-12-31T22:00:00Z")),
            ("2026-11-20", None),
            ("-1d", None),
            ("0s", None),
            ("soon", None),
            ("", None),
        ] {
            let found = text.parse::<Expiry>().and_then(|expiry| expiry.after(now));
            assert_eq!(found.ok().map(|end| end.to_string()).as_deref(), end, "{text}");
        }
    }
}
