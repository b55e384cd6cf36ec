//! No card data anywhere: 1,000 messages with known cards in them, and every capture, through every protocol into a whole
//! gateway at debug level; then the store, the log, the MQTT traffic, HTTP and the process's memory are searched.

#[path = "../it/mosquitto.rs"]
#[expect(dead_code, reason = "shared with other tests, which use the rest of it")]
mod mosquitto;

mod memory;
mod planted;
mod said;
mod secret;
mod world;

use secret::{Random, Search, Secret};
use world::World;

/// Cards, each of which is said in eight ways.
const CARDS: usize = 125;
/// Those of them that stand in every other place too.
const PLANTED: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_card_but_six_and_four_is_found_anywhere() {
    let mut random = Random::new(20_261_121);
    let secrets: Vec<Secret> = (0..CARDS).map(|_| Secret::new(&mut random)).collect();
    let search = Search::new(&secrets);
    let planted = said::jsonl(&secrets[0], 0);
    assert!(search.find(&planted).len() > 3, "the search finds what is there");

    let world = World::start().await;
    world.captures().await;
    world.cards(&secrets).await;
    world.planted(&secrets[..PLANTED]).await;
    world.at_rest().await;

    let mut found = Vec::new();
    for (place, bytes) in world.left_behind().await {
        found.extend(search.find(&bytes).into_iter().map(|hit| format!("{place}: {hit}")));
    }
    let mut in_memory = Vec::new();
    memory::each_piece(world.gateway_id(), 4096, |place, bytes| {
        in_memory.extend(search.find(bytes).into_iter().map(|hit| format!("memory {place}: {hit}")));
    });
    found.extend(in_memory);
    let mut dumped = Vec::new();
    memory::core_dump(world.gateway_id(), 4096, |place, bytes| {
        dumped.extend(search.find(bytes).into_iter().map(|hit| format!("core dump {place}: {hit}")));
    });
    found.extend(dumped);
    assert!(
        found.is_empty(),
        "{} places, the first of them:\n{}",
        found.len(),
        found[..found.len().min(30)].join("\n")
    );
    world.heard_of_all(CARDS);
}
