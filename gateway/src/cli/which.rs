//! Which events somebody asks for on the command line.

use std::str::FromStr;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::event::Severity;
use crate::log::{Filter, KindPattern};

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Which {
    /// Only those of this terminal.
    #[arg(long, value_name = "NAME")]
    pub(super) terminal: Option<String>,
    /// Only these kinds: `supply.low`, or a family as `supply.*`; several apart by commas.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(super) kind: Vec<KindPattern>,
    /// Only those at least this bad: info, warning, major or critical.
    #[arg(long, value_name = "SEVERITY")]
    pub(super) severity: Option<Severity>,
    /// Only those read since then: an instant, a day (in UTC), or how long ago (`90m`, `2h`, `3d`).
    #[arg(long, value_name = "WHEN")]
    pub(super) since: Option<Moment>,
    /// Only those read before then.
    #[arg(long, value_name = "WHEN")]
    pub(super) until: Option<Moment>,
}

impl Which {
    /// The same as a filter of the log.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            terminal: self.terminal.clone(),
            kinds: self.kind.clone(),
            severity: self.severity,
            since: self.since.map(|moment| moment.0),
            until: self.until.map(|moment| moment.0),
        }
    }

    /// The same as a part of a query, with `&` in front of each.
    pub(super) fn query(&self) -> String {
        use super::ask::encoded;
        let mut query = String::new();
        let mut add = |key: &str, value: String| query.push_str(&format!("&{key}={}", encoded(&value)));
        if let Some(terminal) = &self.terminal {
            add("terminal", terminal.clone());
        }
        if !self.kind.is_empty() {
            add("kind", self.kind.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        if let Some(severity) = self.severity {
            add("severity", severity.to_string());
        }
        for (key, moment) in [("since", self.since), ("until", self.until)] {
            if let Some(Moment(at)) = moment {
                add(key, at.to_string());
            }
        }
        query
    }
}

/// An instant, as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Moment(at));
        }
        if let Ok(day) = text.parse::<Date>() {
            let midnight = day.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
            return Ok(Moment(midnight.timestamp()));
        }
        // A day has 24 hours here: how long ago is asked, not which day.
        let ago = match text.strip_suffix('d').map(str::parse::<i64>) {
            Some(Ok(days)) => days.checked_mul(24).and_then(SignedDuration::try_from_hours),
            _ => text.parse::<SignedDuration>().ok(),
        };
        let ago = ago.filter(SignedDuration::is_positive);
        ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok()).map(Moment).ok_or_else(|| {
            format!("`{text}` is no instant (2026-11-20T12:00:00Z), no day (2026-11-20), and no time ago (90m, 2h, 3d)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_instant_a_day_or_a_time_ago() {
        let parse = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        assert_eq!(parse("2026-11-20T12:00:00Z"), Ok("2026-11-20T12:00:00Z".parse().expect("an instant")));
        assert_eq!(parse("2026-11-20"), Ok("2026-11-20T00:00:00Z".parse().expect("an instant")));
        for (text, hours) in [("2h", 2), ("90m", 1), ("3d", 72)] {
            let then = parse(text).expect("a time ago");
            let ago = Timestamp::now().duration_since(then);
            assert_eq!(ago.as_hours(), hours, "{text}");
        }
        for wrong in ["", "yesterday", "-2h", "0s", "d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_here_is_what_is_asked_there() {
        let which = Which {
            terminal: Some("atm 01".to_owned()),
            kind: vec!["supply.*".parse().expect("a pattern"), "card.taken".parse().expect("a pattern")],
            severity: Some(Severity::Major),
            since: Some("2026-11-20".parse().expect("a moment")),
            until: None,
        };
        assert_eq!(
            which.query(),
            "&terminal=atm%2001&kind=supply.%2A%2Ccard.taken&severity=major&since=2026-11-20T00%3A00%3A00Z"
        );
    }
}
