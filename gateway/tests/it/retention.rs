//! A backlog that is larger than the store may be: the oldest is given up, told to the broker, and counted.

use std::collections::BTreeSet;

use serde_json::Value;
use vestibule::event::{Event, Kind};
use vestibule::forward::Config;
use vestibule::log;

use crate::forwarding::{DEADLINE, Gateway, eventually, sequence, to};
use crate::mosquitto::Mosquitto;
use crate::proxy::Proxy;
use crate::subscriber::Subscriber;

const EVENTS: usize = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_is_too_large_loses_its_oldest_and_the_broker_hears_of_it() {
    let broker = Mosquitto::start();
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/+/+/event/#").await;
    let line = Proxy::start(broker.port()).await;
    line.refuse(true);
    // A megabyte beside the write-ahead log: less than the smallest that a configuration may say.
    let config = log::Config { max_mb: 17, reserve_mb: 0, tail_events: 64, ..log::Config::default() };
    let gateway = Gateway::within(config);
    gateway.log.keep_for_broker(true);
    gateway.log.keep_for_rules(BTreeSet::new());
    let forwarder = gateway.forward(Config { keep_alive_s: 5, ..to(line.port()) });
    for _ in 0..EVENTS / 100 {
        let event = || Event { terminal: "atm-1".to_owned(), ..Event::new(Kind::SupplyLow).detail("x".repeat(900)) };
        gateway.append_all((0..100).map(|_| event().into()).collect()).await;
    }
    // While nobody can be reached, the forwarder's own sums follow.
    eventually(|| gateway.metrics.forward_discarded.get() > 3000).await;
    let sum = |counts: [i64; 4]| u64::try_from(counts.iter().sum::<i64>()).expect("positive");
    eventually(|| sum(gateway.counts()) == *gateway.log.head().borrow()).await;

    line.refuse(false);
    eventually(|| gateway.metrics.forward_pending.get() == 0).await;
    let [forwarded, _, dead, discarded] = gateway.counts().map(|count| u64::try_from(count).expect("positive"));
    let head = *gateway.log.head().borrow();
    assert_eq!((forwarded + discarded, dead), (head, 0), "the sums hold");
    let mut heard: BTreeSet<u64> = BTreeSet::new();
    let (mut told, mut gaps) = (0, BTreeSet::new());
    while u64::try_from(heard.len()).expect("small") < forwarded {
        let json = subscriber.next().await.json;
        heard.insert(sequence(&json));
        if json["type"].as_str().is_some_and(|kind| kind.ends_with("gateway.gap")) {
            let number =
                |key: &str| json["data"]["attributes"][key].as_u64().unwrap_or_else(|| panic!("{key} of {json}"));
            if gaps.insert(number("first")) {
                told += number("count");
            }
            assert_eq!(json["data"]["attributes"]["reason"], Value::from("max_mb"));
        }
    }
    assert_eq!(told, discarded, "what the subscriber did not hear it was told of");
    assert_eq!(heard.len() + usize::try_from(discarded).expect("small"), usize::try_from(head).expect("small"));
    assert!(gaps.contains(&1), "the oldest went: {gaps:?}");
    // The log says the same once it is written.
    eventually(|| gateway.log.progress().expect("reads").pending(head) == 0).await;
    let progress = gateway.log.progress().expect("reads");
    assert_eq!((progress.forwarded, progress.discarded), (forwarded, discarded));
    forwarder.stop(DEADLINE).await;
}
