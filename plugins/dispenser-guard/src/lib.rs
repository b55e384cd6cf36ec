//! Cash that is presented without a transaction request: somebody makes the dispenser pay out past the host
//! ("jackpotting").
//!
//! Only where a terminal's profile says `reports_requests`: other terminals show no requests, and each of their
//! withdrawals would look like theft. A terminal that this rule has never seen ask for anything is taken at its word: no
//! request is no request. The alert stays until the terminal reports that it is in service again, which after the
//! out-of-service command takes a person.

use vestibule_sdk::prelude::*;

const ALERT: &str = "security.unauthorised_dispense";

/// The rule.
#[derive(Debug)]
pub struct DispenserGuard;

impl Rule for DispenserGuard {
    const SUBSCRIPTIONS: &'static [Subscription] =
        &[Subscription::kinds(&[kind::CASH_PRESENTED, kind::TXN_REQUESTED, kind::TXN_ENDED, kind::MODE_IN_SERVICE])];

    fn on_event(event: Event<'_>, out: &mut Out<'_>) {
        if !event.terminal().flag("reports_requests") {
            return;
        }
        let terminal = event.terminal().name();
        let (requested, open) = (format!("{terminal}/requested"), format!("{terminal}/open"));
        match event.kind() {
            kind::TXN_REQUESTED => state::set(&requested, "yes"),
            kind::TXN_ENDED => state::remove(&requested),
            kind::MODE_IN_SERVICE if state::has(&open) => {
                state::remove(&open);
                out.clear(ALERT, &format!("{terminal} is in service again."));
            }
            kind::CASH_PRESENTED if !state::has(&requested) => {
                let detail = format!("{terminal} presented cash that no transaction asked for.");
                out.emit(kind::SECURITY_UNAUTHORISED_DISPENSE).detail(&detail);
                if !state::has(&open) {
                    state::set(&open, "yes");
                    out.raise(ALERT, Severity::Critical, "Cash without a transaction").detail(&detail);
                }
                out.command("out_of_service").argument("reason", ALERT);
            }
            _ => {}
        }
    }
}

vestibule_sdk::rule!(DispenserGuard);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_hold() {
        vestibule_sdk::scenario::run_folder::<DispenserGuard>(".").unwrap();
    }
}
