//! Kills while a gateway starts for the first time, or brings a store of any older version up to date.

use std::time::{Duration, Instant};

use vestibule::simulate::Random;

use crate::branch::alone::{Alone, Found};
use crate::branch::process::FINE;
use crate::{Figures, say};

/// Kills before a gateway is let come up.
const KILLS: u64 = 5;

#[tokio::test]
async fn a_first_start_and_a_migration_survive_every_kill() {
    let figures = Figures::from_environment();
    let mut random = Random::new(figures.seed ^ 1);
    let kinds = Found::all();
    let kinds_count = u64::try_from(kinds.len()).unwrap();
    let (mut kills, mut unready) = (0, 0);
    for found in kinds.repeat(usize::try_from(figures.gateway_kills.div_ceil(kinds_count * KILLS)).unwrap()) {
        let lives = lasts(found).await;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        found.put(&data);
        let mut gateway = Alone::new(dir.path(), &data);
        for _ in 0..KILLS {
            gateway.start();
            tokio::time::sleep(Duration::from_micros(u64::from(random.below(lives)))).await;
            unready += u64::from(!gateway.is_ready().await);
            kills += 1;
            gateway.end();
        }
        gateway.start();
        gateway.ready().await;
        gateway.end();
        found.assert_whole(&data);
    }
    say(&format!("{kills} kills of a first start or a migration, {unready} of them before it was ready"));
    assert!(unready >= kills / 8, "{unready} of {kills} kills fell into a start");
}

/// How long such a start takes here and now until the gateway is ready, in microseconds.
async fn lasts(found: Found) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    found.put(&data);
    let mut gateway = Alone::new(dir.path(), &data);
    let begun = Instant::now();
    gateway.start();
    gateway.ready_every(FINE).await;
    let lasted = begun.elapsed();
    gateway.end();
    u32::try_from(lasted.as_micros()).unwrap()
}
