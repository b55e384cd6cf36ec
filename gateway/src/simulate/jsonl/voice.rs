//! Acts as lines of JSON.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Line;
use crate::mask;
use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Level, Notes, value};

/// Says acts as JSON lines, each with an id of its own.
#[derive(Clone, Debug)]
pub struct Voice {
    source: String,
    lines: u64,
    random: Random,
}

/// What a line says beside its kind; kept in a table so that an act reads as a list.
struct Said {
    after_ms: u32,
    kind: &'static str,
    fields: Value,
}

fn said(after_ms: u32, kind: &'static str, fields: Value) -> Said {
    Said { after_ms, kind, fields }
}

impl Voice {
    /// A voice whose ids begin with `source`.
    pub fn new(source: impl Into<String>, seed: u64) -> Voice {
        Voice { source: source.into(), lines: 0, random: Random::new(seed) }
    }

    /// The lines of an act, each with the milliseconds since the one before; the first happens at `now`.
    pub fn say(&mut self, act: Act, now: Timestamp) -> Vec<(u32, Line)> {
        let mut at = now;
        let said = self.act(act);
        said.into_iter()
            .map(|said| {
                at = at.checked_add(SignedDuration::from_millis(i64::from(said.after_ms))).unwrap_or(at);
                (said.after_ms, self.line(said, at))
            })
            .collect()
    }

    fn line(&mut self, said: Said, at: Timestamp) -> Line {
        self.lines += 1;
        let id = format!("{}-{}", self.source, self.lines);
        let mut object = Map::new();
        object.insert("id".into(), json!(id));
        object.insert("kind".into(), json!(said.kind));
        object.insert("occurred_at".into(), json!(at.to_string()));
        if let Value::Object(fields) = said.fields {
            object.extend(fields);
        }
        Line { id, json: Value::Object(object).to_string() }
    }

    fn act(&mut self, act: Act) -> Vec<Said> {
        let none = || json!({});
        match act {
            Act::Withdraw(notes) => {
                let amount = json!({ "amount": amount(notes) });
                vec![
                    said(0, "txn.started", none()),
                    said(
                        80,
                        "card.inserted",
                        json!({ "device": "card_reader", "attributes": { "card": self.card() } }),
                    ),
                    said(120, "txn.pin_entered", none()),
                    said(100, "txn.requested", amount.clone()),
                    said(180, "txn.approved", none()),
                    said(60, "card.taken", json!({ "device": "card_reader" })),
                    said(120, "cash.presented", cash(notes)),
                    said(90, "cash.taken", cash(notes)),
                    said(60, "txn.ended", none()),
                ]
            }
            Act::Deposit(notes) => vec![
                said(0, "txn.started", none()),
                said(80, "card.inserted", json!({ "device": "card_reader", "attributes": { "card": self.card() } })),
                said(120, "txn.pin_entered", none()),
                said(150, "cash.inserted", deposited(notes)),
                said(100, "txn.requested", json!({ "amount": amount(notes) })),
                said(150, "txn.approved", none()),
                said(60, "cash.stacked", deposited(notes)),
                said(90, "card.taken", json!({ "device": "card_reader" })),
                said(60, "txn.ended", none()),
            ],
            Act::Decline => vec![
                said(0, "txn.started", none()),
                said(80, "card.inserted", json!({ "device": "card_reader", "attributes": { "card": self.card() } })),
                said(150, "txn.requested", none()),
                said(150, "txn.declined", json!({ "detail": "not enough funds", "attributes": { "reason": "51" } })),
                said(90, "card.taken", json!({ "device": "card_reader" })),
                said(60, "txn.ended", none()),
            ],
            Act::Cassette(number, level) => {
                vec![supply(level, "cash_handler", &format!("cassette_{number}"))]
            }
            Act::Paper(level) => vec![supply(level, "receipt_printer", "paper")],
            Act::CardCaptured => {
                vec![said(0, "card.captured", json!({ "device": "card_reader", "detail": "card not taken, kept" }))]
            }
            Act::Jam => vec![
                said(0, "dispense.failed", json!({ "device": "cash_handler" })),
                said(0, "device.fault", json!({ "device": "cash_handler", "detail": "notes jammed" })),
            ],
            Act::Repair => vec![said(0, "device.recovered", json!({ "device": "cash_handler" }))],
            Act::Retract => {
                vec![said(0, "cash.retracted", json!({ "device": "cash_handler", "component": "retract_bin" }))]
            }
            Act::SupervisorIn => vec![said(0, "mode.supervisor_entered", none())],
            Act::SupervisorKey(key) => vec![said(0, "mode.supervisor_key", json!({ "attributes": { "keys": key } }))],
            Act::SupervisorOut => vec![said(0, "mode.supervisor_exited", none())],
            Act::Restart => vec![said(0, "power.restart", none())],
            // The dispenser speaks, and nobody has asked it for anything.
            Act::Jackpot(notes) => vec![said(0, "cash.presented", cash(notes)), said(150, "cash.taken", cash(notes))],
        }
    }

    /// A decent source masks its cards; some send the whole number, and the gateway has to cope.
    fn card(&mut self) -> String {
        let pan = self.random.pick(&CARDS).pan;
        if self.random.below(2) == 0 { mask::pan(pan) } else { pan.to_owned() }
    }
}

fn amount(notes: Notes) -> Value {
    json!({ "value": format!("{}.00", value(notes)), "currency": "EUR" })
}

fn cash(notes: Notes) -> Value {
    json!({ "device": "cash_handler", "amount": amount(notes), "attributes": { "notes": notes } })
}

fn deposited(notes: Notes) -> Value {
    json!({ "device": "note_acceptor", "amount": amount(notes), "attributes": { "notes": notes } })
}

fn supply(level: Level, device: &str, component: &str) -> Said {
    let kind = match level {
        Level::Good => "supply.ok",
        Level::Low => "supply.low",
        Level::Out => "supply.out",
    };
    said(0, kind, json!({ "device": device, "component": component }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(act: Act) -> Vec<String> {
        let lines = Voice::new("t", 1).say(act, Timestamp::UNIX_EPOCH);
        lines
            .iter()
            .map(|(_, line)| {
                let json: Value = serde_json::from_str(&line.json).unwrap();
                assert_eq!(json["id"], line.id.as_str());
                json["kind"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn every_kind_is_in_the_table_and_a_jackpot_has_no_request() {
        let acts = [
            Act::Withdraw([1, 0, 0, 0]),
            Act::Deposit([1, 0, 0, 0]),
            Act::Decline,
            Act::Jam,
            Act::Repair,
            Act::Cassette(1, Level::Good),
            Act::Cassette(1, Level::Out),
            Act::Paper(Level::Low),
            Act::CardCaptured,
            Act::Retract,
            Act::SupervisorIn,
            Act::SupervisorKey(9),
            Act::SupervisorOut,
            Act::Restart,
        ];
        for kind in acts.into_iter().flat_map(kinds) {
            assert!(kind.parse::<crate::event::Kind>().is_ok(), "{kind}");
        }
        assert_eq!(kinds(Act::Jackpot([0, 0, 9, 9])), ["cash.presented", "cash.taken"]);
    }

    #[test]
    fn a_session_is_the_same_for_the_same_seed_and_ids_go_on() {
        let say = || Voice::new("run7", 5).say(Act::Withdraw([0, 1, 0, 0]), Timestamp::UNIX_EPOCH);
        assert_eq!(say(), say());
        let mut voice = Voice::new("run7", 5);
        let lines: Vec<_> = (0..2).flat_map(|_| voice.say(Act::Restart, Timestamp::UNIX_EPOCH)).collect();
        assert_eq!((lines[0].1.id.as_str(), lines[1].1.id.as_str()), ("run7-1", "run7-2"));
    }
}
