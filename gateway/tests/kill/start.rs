//! Kills while a gateway starts for the first time, or brings an older store up to date.

use std::time::Duration;

use vestibule::simulate::Random;

use crate::branch::alone::{Alone, assert_whole, make_older};
use crate::{Figures, say};

/// Kills before a gateway is let come up.
const KILLS: u64 = 5;
/// Most of the time that one lives, in microseconds.
const LIVES_US: u32 = 40_000;

#[tokio::test]
async fn a_first_start_and_a_migration_survive_every_kill() {
    let figures = Figures::from_environment();
    let mut random = Random::new(figures.seed ^ 1);
    let rounds = 2 * figures.gateway_kills.div_ceil(2 * KILLS);
    for round in 0..rounds {
        let is_older = round % 2 == 1;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        if is_older {
            std::fs::create_dir(&data).unwrap();
            make_older(&data.join("events.db"));
        }
        let mut gateway = Alone::new(dir.path(), &data);
        for _ in 0..KILLS {
            gateway.start();
            tokio::time::sleep(Duration::from_micros(u64::from(random.below(LIVES_US)))).await;
            gateway.end();
        }
        gateway.start();
        gateway.ready().await;
        gateway.end();
        assert_whole(&data, is_older);
    }
    say(&format!("{} kills of a first start or a migration", rounds * KILLS));
}
