//! A branch whose gateway stands on a disk without a battery, cut after cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vestibule::simulate::Random;

use crate::branch::Branch;
use crate::disk::{Disk, Entry, Node, ROOT};
use crate::inspect::{Told, inspect};
use crate::mount::Mount;
use crate::remains::Remains;
use crate::supply::{Side, When};

/// The gateway's data folder on the disk: it makes both.
pub(crate) const DATA: &str = "lib/vestibule";
/// More lines than are ever sent.
const ENDLESS: u64 = 10_000_000;
/// How long nobody has what counts as forwarded, because it is still on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How often the supply is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// How one life of the gateway ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    when: When,
    /// The power goes at the latest then.
    patience: Duration,
    /// The gateway is asked to end before that.
    stop: Option<Duration>,
    remains: Remains,
}

impl Plan {
    /// The first life of a chain: the tables are being made.
    fn first(random: &mut Random) -> Plan {
        let when = match random.below(4) {
            0 => When::Sync(number(random, 24), side(random)),
            1 => When::Act(number(random, 1_500)),
            _ => When::Act(number(random, 160)),
        };
        Plan { when, patience: millis(random, 300, 1_500), stop: None, remains: *random.pick(&Remains::ALL) }
    }

    fn next(random: &mut Random) -> Plan {
        let patience = millis(random, 300, 1_500);
        let (when, stop) = match random.below(20) {
            // While it starts: what the cut before left is being taken up.
            0..=3 => (When::Act(number(random, 40)), None),
            4..=7 => (When::Act(number(random, 1_500)), None),
            8..=11 => (When::Sync(number(random, 100), side(random)), None),
            // A checkpoint comes after some megabytes, or with the end.
            12..=15 => (When::Store(number(random, 60)), Some(patience / 2)),
            16..=17 => (When::Never, Some(patience - millis(random, 0, 60))),
            _ => (When::Never, None),
        };
        Plan { when, patience, stop, remains: *random.pick(&Remains::ALL) }
    }
}

fn number(random: &mut Random, below: u32) -> u64 {
    u64::from(random.below(below))
}

fn millis(random: &mut Random, from: u32, more: u32) -> Duration {
    Duration::from_millis(u64::from(from + random.below(more)))
}

fn side(random: &mut Random) -> Side {
    *random.pick(&[Side::Before, Side::Untold, Side::After])
}

/// What a run was.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) cuts: u64,
    /// How many cuts fell where, in the words of [`When`], and how many just when their time came.
    pub(crate) fell: BTreeMap<&'static str, u64>,
    pub(crate) left: BTreeMap<Remains, u64>,
    pub(crate) answered: u64,
    pub(crate) published: u64,
    pub(crate) commands: u64,
}

/// A branch on such a disk.
pub(crate) struct Outage {
    dir: TempDir,
    place: PathBuf,
    mount: Option<Mount>,
    pub(crate) branch: Branch,
}

impl Outage {
    pub(crate) async fn begin(seed: u64, when: When) -> Outage {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("disk");
        std::fs::create_dir(&place).unwrap();
        let mount = Some(Mount::new(&place, Disk::default(), when));
        let branch = Branch::open(dir.path(), &place.join(DATA), ENDLESS, seed).await;
        Outage { dir, place, mount, branch }
    }

    pub(crate) fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    /// Waits for the cut, or for the end of its patience; says where it fell.
    async fn wait(&mut self, plan: Plan) -> &'static str {
        let begun = Instant::now();
        let mut stop = plan.stop;
        loop {
            if self.mount().powered().supply.is_cut() {
                return match plan.when {
                    When::Act(..40) => "start",
                    When::Act(_) => "act",
                    When::Sync(_, Side::Before) => "before a sync",
                    When::Sync(_, Side::Untold) => "untold sync",
                    When::Sync(_, Side::After) => "after a sync",
                    When::Store(_) => "store",
                    When::Never => "by hand",
                };
            }
            if begun.elapsed() > plan.patience {
                return if plan.stop.is_some() { "while it ends" } else { "any time" };
            }
            if stop.take_if(|stop| begun.elapsed() > *stop).is_some() {
                self.branch.gateway.terminate();
            }
            // Nothing but the cut, or being asked to, is a reason to end.
            if plan.stop.is_none() {
                let ended = self.branch.gateway.ended();
                let cut = self.mount().powered().supply.is_cut();
                assert!(ended.is_none() || cut, "the gateway ended by itself:\n{}", self.branch.gateway.tail());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The power is cut: nothing answers any more, and the gateway dies. What is left of the disk.
    pub(crate) fn cut(&mut self, remains: Remains, random: &mut Random) -> Disk {
        let mount = self.mount.take().unwrap();
        mount.powered().supply.cut();
        self.branch.gateway.end();
        remains.of(&mount.take(), random)
    }

    /// The power is back.
    pub(crate) fn restore(&mut self, disk: Disk, when: When) {
        self.mount = Some(Mount::new(&self.place, disk, when));
        self.branch.again();
    }

    /// What others know now.
    pub(crate) fn told(&self) -> Told {
        let (accepted, heard) = self.branch.commander.look(|orders| (orders.accepted, orders.heard.clone()));
        Told {
            answered: self.branch.load.answered(),
            published: self.branch.subscriber.look(|seen| seen.events.clone()),
            accepted,
            heard,
        }
    }

    /// What is wrong with the store on this disk. SQLite looks at a copy of it, as it would find it at the next start.
    pub(crate) async fn inspect(&self, disk: &Disk) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let copy = tempfile::tempdir_in(self.dir.path()).unwrap();
            export(disk, ROOT, copy.path());
            let faults = inspect(&copy.path().join(DATA), &self.told());
            let on_its_way = |fault: &String| fault.contains("nobody has it");
            if !faults.iter().any(on_its_way) || begun.elapsed() > ON_ITS_WAY {
                return faults;
            }
            tokio::time::sleep(10 * LOOK).await;
        }
    }

    /// Everything has arrived in the end, and the gateway ends in order.
    pub(crate) async fn end(self) {
        self.branch.load.enough();
        self.branch.close().await;
    }
}

/// Writes what is durable into a folder.
pub(crate) fn export(disk: &Disk, node: Node, to: &Path) {
    match &disk.entries()[&node] {
        Entry::File(bytes) => std::fs::write(to, &bytes.durable).unwrap(),
        Entry::Folder(names) => {
            std::fs::create_dir_all(to).unwrap();
            names.durable.iter().for_each(|(name, node)| export(disk, *node, &to.join(name)));
        }
    }
}

/// So many cuts of one branch, from its first start on, and what they found.
pub(crate) async fn chain(seed: u64, cuts: u64, figures: &mut Figures) {
    let mut random = Random::new(seed);
    let mut plan = Plan::first(&mut random);
    let mut outage = Outage::begin(seed, plan.when).await;
    for cut in 1..=cuts {
        let fell = outage.wait(plan).await;
        let disk = outage.cut(plan.remains, &mut random);
        let faults = outage.inspect(&disk).await;
        assert!(
            faults.is_empty(),
            "cut {cut} of seed {seed}, {plan:?}, {fell}: {} faults, the first:\n{}\n{}",
            faults.len(),
            faults[..faults.len().min(10)].join("\n"),
            outage.branch.gateway.tail()
        );
        figures.cuts += 1;
        *figures.fell.entry(fell).or_default() += 1;
        *figures.left.entry(plan.remains).or_default() += 1;
        plan = Plan::next(&mut random);
        outage.restore(disk, if cut == cuts { When::Never } else { plan.when });
    }
    let told = outage.told();
    figures.answered += u64::try_from(told.answered.len()).unwrap();
    figures.published += u64::try_from(told.published.len()).unwrap();
    figures.commands += u64::try_from(told.accepted).unwrap();
    outage.end().await;
}
