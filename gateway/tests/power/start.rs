//! The power is cut at every single act of a first start, and of a start that brings a store of each older version up to date.

use std::path::Path;
use std::time::Duration;

use vestibule::simulate::Random;

use crate::branch::alone::{Alone, Found};
use crate::disk::{Disk, ROOT};
use crate::figure;
use crate::mount::{self, Mount};
use crate::outage::{DATA, LOOK, export};
use crate::remains::Remains;
use crate::supply::When;

/// How long a start may take to come to the act in question, or to be ready.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A disk on which the gateway finds this.
fn disk(found: Found) -> Disk {
    let dir = tempfile::tempdir().unwrap();
    found.put(&dir.path().join(DATA));
    Disk::of(dir.path())
}

/// Starts a gateway on this disk until the power is cut, or until it is ready; gives the disk with what is pending.
async fn start(gateway: &mut Alone, place: &Path, disk: Disk, when: When) -> (Disk, u64) {
    let mount = Mount::new(place, disk, when);
    gateway.start();
    let ready = async {
        while !mount.powered().supply.is_cut() && !gateway.is_ready().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(STARTS_WITHIN, ready).await.expect("it starts, or the power is cut");
    let acts = mount.powered().supply.acts();
    gateway.end();
    (mount.take(), acts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_and_a_migration_survive_a_cut_at_every_act() {
    mount::sweep();
    // The short form cuts at one act of seven, the long one at each.
    let (step, seed) = (figure("VESTIBULE_POWER_STEP", 7), figure("VESTIBULE_POWER_SEED", 1));
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("disk");
    std::fs::create_dir(&place).unwrap();
    let mut gateway = Alone::new(dir.path(), &place.join(DATA));
    let mut cuts = 0;
    for found in Found::all() {
        let (_, acts) = start(&mut gateway, &place, disk(found), When::Never).await;
        for act in (seed % step..acts).step_by(usize::try_from(step).unwrap()) {
            let (left, _) = start(&mut gateway, &place, disk(found), When::Act(act)).await;
            let remains = *random.pick(&Remains::ALL);
            let left = remains.of(&left, &mut random);
            let (left, _) = start(&mut gateway, &place, left, When::Never).await;
            let copy = tempfile::tempdir().unwrap();
            // It said that it is ready: so what it stands on is durable.
            export(&left, ROOT, copy.path());
            found.assert_whole(&copy.path().join(DATA));
            cuts += 1;
        }
    }
    crate::say(&format!("{cuts} cuts of a first start or a migration, seed {seed}"));
}
