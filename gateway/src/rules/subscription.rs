//! Which events a plugin is handed; the others never enter it.

use super::contract::vestibule::rule::types;
use crate::event::{Event, Severity};

/// A plugin's filter.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<types::Subscription>);

/// Families of what rules and the gateway itself make: alert, command, gateway. "Everything" does not mean these.
pub(super) fn is_made_here(family: u16) -> bool {
    matches!(family, 0x0a..=0x0c)
}

/// The number of a severity in the contract.
pub(super) fn severity_code(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Major => 2,
        Severity::Critical => 3,
    }
}

impl Filter {
    pub(super) fn new(subscriptions: Vec<types::Subscription>) -> Filter {
        Filter(subscriptions)
    }

    /// Whether the plugin wants this event. What it made itself it never gets.
    pub(super) fn wants(&self, plugin: &str, event: &Event) -> bool {
        let code = event.kind.code();
        let family = code >> 8;
        let severity = severity_code(event.severity);
        let wanted = self.0.iter().any(|wanted| {
            let any = wanted.kinds.is_empty() && wanted.families.is_empty() && !is_made_here(family);
            let named = || wanted.kinds.contains(&code) || wanted.families.iter().any(|of| u16::from(*of) == family);
            severity >= wanted.min_severity && (any || named())
        });
        wanted && event.rule.as_deref() != Some(plugin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn filter(kinds: &[Kind], families: &[u8], min_severity: u8) -> Filter {
        let kinds = kinds.iter().map(|kind| kind.code()).collect();
        Filter(vec![types::Subscription { kinds, families: families.to_vec(), min_severity }])
    }

    #[test]
    fn kinds_families_severity_and_own_effects() {
        let low = Event::new(Kind::SupplyLow);
        let alert = Event::new(Kind::AlertRaised);
        assert!(filter(&[Kind::SupplyLow], &[], 0).wants("r", &low));
        assert!(!filter(&[Kind::SupplyLow], &[], 2).wants("r", &low));
        assert!(filter(&[], &[2], 1).wants("r", &low));
        assert!(filter(&[], &[], 0).wants("r", &low));
        assert!(!filter(&[], &[], 0).wants("r", &alert));
        assert!(filter(&[Kind::AlertRaised], &[], 0).wants("r", &alert));
        let own = Event { rule: Some("r".to_owned()), ..low };
        assert!(!filter(&[], &[], 0).wants("r", &own) && filter(&[], &[], 0).wants("other", &own));
        assert!(!Filter::default().wants("r", &own));
    }
}
