//! The plugin folder of a running gateway: put a file in, overwrite it with nonsense, take it away.

use std::fs;
use std::path::Path;

use vestibule::event::Kind;

use crate::gateway::{Running, Source, free_port};

/// The built rule that comes with the project.
fn cash_low() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist/cash-low.wasm")).expect("committed")
}

#[tokio::test]
async fn a_text_file_is_refused_and_the_rule_before_it_stays_in_force() {
    let (folder, json) = (tempfile::tempdir().expect("temp dir"), free_port());
    let gateway = Running::start(&format!(
        r#"
        rules.dir = {:?}
        [[terminal]]
        name = "atm-01"
        profile = "json-lines"
        link = [{{ name = "json", protocol = "jsonl", listen = "{json}" }}]
        "#,
        folder.path()
    ))
    .await;
    let rule = folder.path().join("cash-low.wasm");
    fs::write(&rule, cash_low()).expect("writes");
    let loaded = gateway.kind(Kind::GatewayPluginLoaded).await;
    assert!(loaded.event.detail.contains("cash-low"), "{}", loaded.event.detail);

    fs::write(&rule, "this is no wasm, it is a shopping list").expect("writes");
    let refused = gateway.kind(Kind::GatewayPluginRefused).await;
    assert!(refused.event.detail.contains("cash-low"), "{}", refused.event.detail);

    let mut source = Source::connect(json).await;
    source.say(b"{\"kind\":\"supply.low\",\"device\":\"cash_handler\",\"component\":\"cassette_2\"}\n").await;
    source.answer().await.expect("an answer");
    let alert = gateway.kind(Kind::AlertRaised).await;
    assert_eq!(alert.event.rule.as_deref(), Some("cash-low"));

    fs::remove_file(&rule).expect("removes");
    gateway.kind(Kind::GatewayPluginRemoved).await;
    gateway.stop().await;
}
