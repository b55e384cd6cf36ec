//! Which events somebody wants to see.

use std::str::FromStr;

use jiff::Timestamp;

use crate::event::{Event, Kind, Severity};

/// Kinds of events: `supply.low`, a family as `supply.*`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindPattern {
    /// Every kind.
    All,
    /// Those of a family.
    Family(String),
    /// One kind.
    One(Kind),
}

impl FromStr for KindPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix(".*") {
            None if text == "*" => Ok(KindPattern::All),
            None => text.parse().map(KindPattern::One),
            Some(family) if Kind::table().iter().any(|row| row.kind.family() == family) => {
                Ok(KindPattern::Family(family.to_owned()))
            }
            Some(family) => Err(format!("there is no kind that begins with `{family}.`")),
        }
    }
}

impl std::fmt::Display for KindPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KindPattern::All => f.write_str("*"),
            KindPattern::Family(family) => write!(f, "{family}.*"),
            KindPattern::One(kind) => write!(f, "{kind}"),
        }
    }
}

/// Which events: all conditions that are there must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this terminal.
    pub terminal: Option<String>,
    /// Of one of these kinds, where there are any.
    pub kinds: Vec<KindPattern>,
    /// At least this bad.
    pub severity: Option<Severity>,
    /// Read by the gateway at this instant or later, by its clock then.
    pub since: Option<Timestamp>,
    /// Read before this instant.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether this is one of them.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = |pattern: &KindPattern| match pattern {
            KindPattern::All => true,
            KindPattern::Family(family) => event.kind.family() == family,
            KindPattern::One(kind) => event.kind == *kind,
        };
        self.terminal.as_ref().is_none_or(|terminal| *terminal == event.terminal)
            && (self.kinds.is_empty() || self.kinds.iter().any(kind))
            && self.severity.is_none_or(|severity| event.severity >= severity)
            && self.since.is_none_or(|since| event.received_at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| event.received_at.is_some_and(|at| at < until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_must_hold() {
        let mut event = Event::new(Kind::SupplyLow);
        event.terminal = "atm-01".to_owned();
        event.received_at = Some("2026-11-20T12:00:00Z".parse().expect("an instant"));
        let kinds = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
        let at = |text: &str| Some(text.parse().expect("an instant"));
        let none = Filter::default;
        for (filter, wanted) in [
            (none(), true),
            (Filter { terminal: Some("atm-01".to_owned()), ..none() }, true),
            (Filter { terminal: Some("atm-02".to_owned()), ..none() }, false),
            (Filter { kinds: kinds(&["card.*", "supply.*"]), ..none() }, true),
            (Filter { kinds: kinds(&["supply.low"]), ..none() }, true),
            (Filter { kinds: kinds(&["*"]), ..none() }, true),
            (Filter { kinds: kinds(&["supply.out", "card.*"]), ..none() }, false),
            (Filter { severity: Some(Severity::Warning), ..none() }, true),
            (Filter { severity: Some(Severity::Major), ..none() }, false),
            (Filter { since: at("2026-11-20T12:00:00Z"), ..none() }, true),
            (Filter { since: at("2026-11-20T12:00:01Z"), ..none() }, false),
            (Filter { until: at("2026-11-20T12:00:00Z"), ..none() }, false),
            (Filter { kinds: kinds(&["supply.*"]), severity: Some(Severity::Critical), ..none() }, false),
        ] {
            assert_eq!(filter.wants(&event), wanted, "{filter:?}");
        }
        for wrong in ["", "supply", "suply.*", "supply.lower", ".*"] {
            assert!(wrong.parse::<KindPattern>().is_err(), "{wrong}");
        }
    }
}
