//! Back to an older version: what the newer one wrote and this one does not know is forwarded as it is, and holds nobody up.

use crate::gateway::{Source, free_port};
use crate::mosquitto::Mosquitto;
use crate::process::Process;
use crate::subscriber::Subscriber;

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_a_newer_version_is_forwarded_under_its_own_name_and_nobody_stops_at_it() {
    let link = free_port();
    let terminal = format!(
        "rules.bundled = ['cash-low']\nauth.loopback = 'open'\n[[terminal]]\nname = 'atm-1'\nprofile = 'json-lines'\n\
         link = [{{ name = 'json', protocol = 'jsonl', listen = '{link}' }}]\n"
    );
    let gateway = Process::start(&terminal).await;
    let mut source = Source::connect(link).await;
    for detail in ["one", "two", "three"] {
        let line = format!("{{\"kind\":\"journal.block\",\"detail\":\"{detail}\"}}\n");
        source.say(line.as_bytes()).await;
        assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    }
    let dir = gateway.stop().await;

    // As a newer version would have written the second, and before the rule had it.
    let store = rusqlite::Connection::open(dir.path().join("data/events.db")).expect("opens");
    let (seq, json): (i64, String) = store
        .query_row("SELECT seq, json FROM event WHERE instr(json, '\"detail\":\"two\"') > 0", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("is there");
    let newer = json.replace("\"kind\":\"journal.block\"", "\"kind\":\"drone.landed\",\"wings\":4");
    assert_ne!(newer, json);
    store.execute("UPDATE event SET json = ?2 WHERE seq = ?1", (seq, &newer)).expect("is written");
    assert_eq!(store.execute("UPDATE plugin SET cursor = 0", []).expect("is written"), 1);
    store.close().expect("closes");

    let broker = Mosquitto::start();
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/+/atm-1/event/#").await;
    let settings = format!("forward.port = {}\n{terminal}", broker.port());
    let gateway = Process::start_with(dir, &settings, &[]).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let event = subscriber.next().await;
        if ["one", "two", "three"].iter().any(|detail| event.json["data"]["detail"] == *detail) {
            heard.push(event);
        }
    }
    let two = heard.iter().find(|event| event.json["data"]["detail"] == "two").expect("the second");
    assert!(two.topic.ends_with("/atm-1/event/drone/landed"), "{}", two.topic);
    assert_eq!(two.json["type"], "vestibule.drone.landed");
    assert!(two.text.ends_with(&format!("\"data\":{newer}}}")), "byte for byte: {}", two.text);
    gateway.until_figure("vestibule_rule_lag_events{plugin=\"cash-low\"}", |lag| lag == 0.0).await;
    let shown = gateway.get("/api/v1/events?limit=50").await;
    assert!(shown.status == 200 && shown.text.contains("drone.landed"), "{}", shown.text);
    let mut source = Source::connect(link).await;
    source.say(b"{\"kind\":\"journal.block\",\"detail\":\"four\"}\n").await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    while subscriber.next().await.json["data"]["detail"] != "four" {}
    gateway.until_figure("vestibule_rule_lag_events{plugin=\"cash-low\"}", |lag| lag == 0.0).await;
    let dir = gateway.stop().await;
    let verified = std::process::Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["outbox", "verify", "--config"])
        .arg(dir.path().join("vestibule.toml"))
        .output()
        .expect("runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
