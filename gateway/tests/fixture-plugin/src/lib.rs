//! A rule that misbehaves on request, for the tests of the rule host: the attribute `do` says how.

use vestibule_sdk::prelude::*;

/// The rule.
#[derive(Debug)]
pub struct Fixture;

impl Rule for Fixture {
    const SUBSCRIPTIONS: &'static [Subscription] = &[
        Subscription::kinds(&[kind::SOURCE_REPORT]),
        Subscription::kinds(&[kind::DEVICE_FAULT]).at_least(Severity::Major),
    ];

    fn on_event(event: Event<'_>, out: &mut Out<'_>) {
        let Some(wish) = event.attribute("do") else { return };
        match wish.as_str() {
            "count" => {
                let count = state::text("count").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
                state::set("count", count.to_string());
                out.raise("count", Severity::Warning, &count.to_string());
            }
            "write and trap" => {
                state::set("count", "1000000");
                panic!("as the event wished");
            }
            "loop" => loop {
                std::hint::spin_loop();
            },
            "hog" => {
                let mut memory = Vec::new();
                loop {
                    // Never written to, so that the cap ends it before the deadline does.
                    memory.push(Vec::<u8>::with_capacity(1 << 20));
                    std::hint::black_box(&memory);
                }
            }
            "flood" => (0..1000).for_each(|_| out.clear("flood", "")),
            "large" => out.clear(&"x".repeat(1 << 20), ""),
            "unknown kind" => drop(out.emit(0xffff)),
            "forge" => drop(out.emit(kind::GATEWAY_GAP)),
            "derive" => drop(out.emit(kind::SOURCE_REPORT).attribute("do", "derive")),
            "command" => drop(out.command("reboot")),
            "store" => (0..100).for_each(|n| state::set(&format!("key {n}"), vec![0_u8; 60_000])),
            "echo" => {
                let (minor, currency) = event.amount().unwrap_or_default();
                let said = [
                    event.terminal().name(),
                    event.terminal().flag("reports_requests").to_string(),
                    component::name(event.component()),
                    event.field("detail").unwrap_or_default(),
                    event.at_ms().to_string(),
                    minor.to_string(),
                    String::from_utf8_lossy(&currency).into_owned(),
                    event.attribute("number").unwrap_or_default(),
                    event.is_raised().to_string(),
                    event.attribute("absent").is_none().to_string(),
                ];
                out.clear("echo", &said.join("|"));
            }
            _ => log::info(&wish),
        }
    }
}

vestibule_sdk::rule!(Fixture);
