//! Whether this test can fail: a disk that lies is found out, and so is everything that is changed in a store.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;
use vestibule::simulate::Random;

use crate::disk::{Disk, ROOT};
use crate::inspect::{Told, inspect};
use crate::mount::{self, Mount};
use crate::outage::{DATA, Outage, export};
use crate::remains::Remains;
use crate::supply::When;

const WITHIN: Duration = Duration::from_secs(60);

async fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < WITHIN, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_lies_is_found_out() {
    const LINES: usize = 100;
    mount::sweep();
    let mut outage = Outage::begin(1, When::Never).await;
    until("lines are answered", || outage.told().answered.len() >= LINES).await;
    outage.mount().powered().disk.lie();
    let honest = outage.told().answered.len();
    // Those under way may have been synced before.
    let under_way = 200;
    until("more lines are answered", || outage.told().answered.len() >= honest + under_way + LINES).await;
    let disk = outage.cut(Remains::Nothing, &mut Random::new(1));
    let faults = outage.inspect(&disk).await;
    let lost = faults.iter().filter(|fault| fault.starts_with("lost: ")).count();
    assert!(lost >= LINES, "{lost} of the lines that were answered meanwhile are missed: {faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("published early: ")), "nothing published is missed");
}

/// A change of the store, and a word of the fault that has to be found.
const CHANGES: [(&str, &str); 11] = [
    ("DELETE FROM event WHERE seq = (SELECT max(seq) FROM source_id)", "lost: "),
    ("DELETE FROM source_id WHERE seq = (SELECT max(seq) FROM source_id)", "lost: "),
    ("UPDATE source_id SET seq = seq + 1 WHERE id = 'c0-0'", "which is another"),
    ("UPDATE event SET json = json_set(json, '$.detail', 'other') WHERE seq = 2", "published early: "),
    ("UPDATE event SET json = json_set(json, '$.id', 'br001-00000000-3') WHERE seq = 3", "several epochs"),
    ("UPDATE terminal SET terminal_seq = terminal_seq + 1 WHERE name = 'atm-01'", "the terminals stand at"),
    ("UPDATE plugin SET cursor = 1 WHERE id = 'cash-low'", "behind its rule's position"),
    ("INSERT INTO plugin_state VALUES ('cash-low', 'atm-01/cassette_9', x'00')", "the rules' state"),
    ("UPDATE progress SET floor = floor + 1", "the books of the forwarder"),
    ("UPDATE command SET state = 'requested' WHERE id = 'k0'", "k0 is "),
    ("DELETE FROM journal", "are in the journal"),
];

/// The first alert once more, in the place and under the number of the next event.
const ALERT_TWICE: &str = "INSERT INTO event SELECT last + 1, 0, boot, boot_ms, json_set(json, '$.seq', last + 1)
     FROM event, (SELECT max(seq) AS last FROM event) WHERE json LIKE '%\"kind\":\"alert.raised\"%' ORDER BY seq LIMIT 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_changed_in_a_store_is_found() {
    mount::sweep();
    let mut outage = Outage::begin(2, When::Never).await;
    let heard = |told: &Told, terminal: &str, kind: &str| {
        told.published.values().any(|event| event["terminal"] == terminal && event["kind"] == kind)
    };
    until("everybody has spoken", || {
        let told = outage.told();
        heard(&told, "atm-01", "alert.raised") && heard(&told, "atm-03", "txn.started") && told.accepted > 1
    })
    .await;
    let disk = outage.cut(Remains::Everything, &mut Random::new(2));
    assert_eq!(outage.inspect(&disk).await, Vec::<String>::new(), "nothing is wrong with it as it is");
    let told = outage.told();
    let changed = |change: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().unwrap();
        export(&disk, ROOT, copy.path());
        let folder = copy.path().join(DATA);
        change(&folder);
        inspect(&folder, &told)
    };
    for (sql, word) in CHANGES.into_iter().chain([(ALERT_TWICE, "an effect twice")]) {
        let faults = changed(&|folder| {
            let store = Connection::open(folder.join("events.db")).unwrap();
            assert!(store.execute(sql, []).unwrap() > 0, "{sql} changes nothing");
        });
        assert!(faults.iter().any(|fault| fault.contains(word)), "{sql}: {faults:?}");
    }
    let gone = changed(&|folder| std::fs::remove_dir_all(folder).unwrap());
    assert!(gone.iter().any(|fault| fault.contains("there is no store")), "{gone:?}");
    let damaged = changed(&|folder| {
        std::fs::write(folder.join("events.db"), [7; 8192]).unwrap();
        std::fs::remove_file(folder.join("events.db-wal")).unwrap();
    });
    assert!(damaged.iter().any(|fault| fault.contains("cannot be read")), "{damaged:?}");
    // What nobody has cannot have been forwarded.
    let mut told = told.clone();
    told.published.clear();
    let copy = tempfile::tempdir().unwrap();
    export(&disk, ROOT, copy.path());
    let early = inspect(&copy.path().join(DATA), &told);
    assert!(early.iter().any(|fault| fault.contains("nobody has it")), "{early:?}");
}

/// More rows than there are acts before a cut.
const ROWS: i64 = 1_000;
/// Tells this program to commit rows, and nothing else: a folder on the disk, how to sync, and a file for the count.
const WRITER: &str = "VESTIBULE_POWER_WRITER";

/// Commits row after row until the power is cut; how many commits returned.
fn commit_until_cut(folder: &str, synchronous: &str) -> rusqlite::Result<i64> {
    let store = Connection::open(Path::new(folder).join("rows.db"))?;
    store.pragma_update(None, "journal_mode", "WAL")?;
    store.pragma_update(None, "synchronous", synchronous)?;
    store.execute_batch("PRAGMA wal_autocheckpoint = 8; CREATE TABLE row (number INTEGER PRIMARY KEY)")?;
    Ok((1..ROWS).take_while(|row| store.execute("INSERT INTO row VALUES (?1)", [row]).is_ok()).last().unwrap_or(0))
}

/// The same in a process of its own; see [`Mount`].
fn write(folder: &Path, synchronous: &str, count: &Path) -> i64 {
    let orders = [folder, synchronous.as_ref(), count].map(|word| word.to_str().unwrap()).join("\n");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tester::sqlite_loses_nothing_where_it_syncs_and_much_where_it_does_not"]);
    let done = command.env(WRITER, orders).stdout(Stdio::null()).status().unwrap();
    assert!(done.success(), "{done}");
    std::fs::read_to_string(count).unwrap().parse().unwrap()
}

/// What is left of them: as many as are there, if they are whole.
fn left(disk: &Disk) -> rusqlite::Result<i64> {
    let copy = TempDir::new().unwrap();
    export(disk, ROOT, copy.path());
    let store = Connection::open(copy.path().join("rows.db"))?;
    let verdict: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(-1);
    }
    store.query_row("SELECT count(*) FROM row", [], |row| row.get(0))
}

/// The disk itself, by SQLite alone: nothing is lost where it syncs, and much is where it does not.
#[test]
fn sqlite_loses_nothing_where_it_syncs_and_much_where_it_does_not() {
    if let Ok(orders) = std::env::var(WRITER) {
        let orders: Vec<&str> = orders.lines().collect();
        let committed = commit_until_cut(orders[0], orders[1]).unwrap_or(0);
        return std::fs::write(orders[2], committed.to_string()).unwrap();
    }
    mount::sweep();
    let dir = tempfile::tempdir().unwrap();
    let (place, count) = (dir.path().join("disk"), dir.path().join("count"));
    std::fs::create_dir(&place).unwrap();
    let (mut random, mut lost) = (Random::new(3), 0);
    let acts = [70, 113, 181, 240, 333];
    for act in acts {
        for remains in Remains::ALL {
            for synchronous in ["FULL", "OFF"] {
                let mount = Mount::new(&place, Disk::default(), When::Act(act));
                let committed = write(&place, synchronous, &count);
                let disk = remains.of(&mount.take(), &mut random);
                let found = left(&disk).unwrap_or(0);
                if synchronous == "FULL" {
                    assert!(found >= committed, "act {act}, {remains:?}: {found} of {committed} are left");
                } else {
                    lost += usize::from(found < committed);
                }
            }
        }
    }
    // Where nothing is left of what was not synced, all is lost; how much else, the seed says.
    assert!(lost > acts.len(), "only {lost} of 25 cuts lost anything of a SQLite that does not sync");
}
