//! One alert for each cassette that runs low or empty, until it is filled.
//!
//! A cassette that goes from low to empty does not raise a second alert: people already know that they have to go there.

use vestibule_sdk::prelude::*;

/// The rule.
#[derive(Debug)]
pub struct CashLow;

impl Rule for CashLow {
    const SUBSCRIPTIONS: &'static [Subscription] =
        &[Subscription::kinds(&[kind::SUPPLY_LOW, kind::SUPPLY_OUT, kind::SUPPLY_OK])];

    fn on_event(event: Event<'_>, out: &mut Out<'_>) {
        let Some(cassette) = component::cassette_number(event.component()) else { return };
        let terminal = event.terminal().name();
        let alert = format!("cassette_{cassette}");
        let open = format!("{terminal}/{alert}");
        if event.kind() == kind::SUPPLY_OK {
            if state::has(&open) {
                state::remove(&open);
                out.clear(&alert, &format!("Cassette {cassette} of {terminal} has notes again."));
            }
        } else if !state::has(&open) {
            state::set(&open, "open");
            let how = if event.kind() == kind::SUPPLY_OUT { "empty" } else { "low" };
            out.raise(&alert, event.severity(), &format!("Cassette {cassette} {how}"))
                .detail(format!("Cassette {cassette} of {terminal} is {how}."));
        }
    }
}

vestibule_sdk::rule!(CashLow);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_hold() {
        vestibule_sdk::scenario::run_folder::<CashLow>(".").unwrap();
    }
}
