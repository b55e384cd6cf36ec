//! Verbs that write into a store, called wrongly or by the wrong user: they say so, and leave nothing that stands in a gateway's
//! way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::gateway::DEADLINE;
use crate::site::Site;

/// Who the gateway is, where it is not root: nobody.
const NOBODY: u32 = 65_534;

/// The files of a folder, with their owners and sizes.
fn listing(folder: &Path) -> BTreeMap<String, (u32, u64)> {
    let entries = fs::read_dir(folder).expect("reads").map(|entry| entry.expect("one"));
    let seen = |entry: fs::DirEntry| {
        let found = entry.metadata().expect("is there");
        (entry.file_name().to_string_lossy().into_owned(), (found.uid(), found.len()))
    };
    entries.map(seen).collect()
}

fn give_away(folder: &Path) {
    for name in listing(folder).keys() {
        chown(folder.join(name), Some(NOBODY), Some(NOBODY)).expect("this test needs root");
    }
    chown(folder, Some(NOBODY), Some(NOBODY)).expect("this test needs root");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_does_with_a_store_leaves_it_to_its_owner_and_makes_none() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 50).await;
    gateway.kill();
    // Its owner must be able to reach it.
    fs::set_permissions(site.file("."), fs::Permissions::from_mode(0o755)).expect("is set");
    give_away(&site.data());
    // What an earlier tool may have left.
    chown(site.data().join("events.lock"), Some(0), Some(0)).expect("this test needs root");
    site.good(&["outbox", "dead-letter", "replay", "--all"]);
    let found = listing(&site.data());
    assert!(found.len() >= 2 && found.values().all(|(owner, _)| *owner == NOBODY), "{found:?}");

    // A damaged one is left to the gateway's start.
    let size = fs::metadata(site.store()).expect("is there").len();
    fs::write(site.store(), vec![0xa5; usize::try_from(size).expect("small")]).expect("writes");
    let before = listing(&site.data());
    let (code, out, err) = site.verb(&["outbox", "dead-letter", "replay", "--all"]);
    assert!(code == Some(65) && err.contains("start the gateway") && out.is_empty(), "{code:?}: {out}{err}");
    assert_eq!(listing(&site.data()), before);

    // And where there is none, none is made.
    fs::remove_dir_all(site.data()).expect("is there");
    fs::create_dir(site.data()).expect("is made");
    give_away(&site.data());
    let (code, _, err) = site.verb(&["outbox", "dead-letter", "replay", "--all"]);
    assert!(code == Some(66) && err.contains("no store"), "{code:?}: {err}");
    assert!(listing(&site.data()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_wreck_of_this_gateway_is_not_salvaged() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 20).await;
    let link = site.file("link.db");
    symlink(site.store(), &link).expect("links");
    let (code, _, err) = site.verb(&["outbox", "salvage", link.to_str().expect("is text")]);
    assert!(code == Some(69) && err.contains("in use"), "{code:?}: {err}");
    gateway.stop();

    let store = site.store();
    let (code, _, err) = site.verb(&["outbox", "salvage", store.to_str().expect("is text")]);
    assert!(code == Some(64) && err.contains("present store"), "{code:?}: {err}");
    let text = site.file("plain.txt");
    fs::write(&text, "root:x:0:0:root:/root:/bin/sh\n".repeat(300)).expect("writes");
    let before = listing(&site.data());
    for file in [text.as_path(), Path::new("/dev/null")] {
        for to in [["--config", site.config().to_str().expect("is text")], ["--to", "-"]] {
            let output = site.run(&[&["outbox", "salvage", file.to_str().expect("is text")][..], &to].concat());
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(65) && err.contains("nothing in it"), "{file:?} {to:?}: {err}");
            assert!(output.stdout.is_empty());
        }
    }
    assert!(!site.file("plain.txt.salvaged").exists());
    assert_eq!(listing(&site.data()), before);

    // Another gateway's.
    let other = Site::new(None, "");
    let config = fs::read_to_string(other.config()).expect("reads").replace("gw-1", "gw-2");
    fs::write(other.config(), config).expect("writes");
    other.start().stop();
    let copy = other.file("copy.db");
    fs::copy(&store, &copy).expect("copies");
    let copy = copy.to_str().expect("is text");
    let (code, _, err) = other.verb(&["outbox", "salvage", copy]);
    assert!(code == Some(65) && err.contains("`gw-1`") && err.contains("--foreign"), "{code:?}: {err}");
    let (code, _, err) = other.verb(&["outbox", "salvage", copy, "--foreign"]);
    assert!(code == Some(0) && !err.contains(" 0 events are pending"), "{code:?}: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_mean_nothing_is_said_and_ends() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 5).await;
    let replay = || {
        let (code, out, err) = site.verb(&["outbox", "dead-letter", "replay", "2", "999"]);
        assert!(code == Some(65) && err.contains("2, 999") && out.starts_with("0 events"), "{code:?}: {out}{err}");
    };
    replay();
    let (code, _, err) = site.verb(&["outbox", "export", "--first", "9", "--last", "4"]);
    assert!(code == Some(64) && err.contains("--last 4"), "{code:?}: {err}");
    // They end, though they were to go on.
    let http = site.http.to_string();
    assert_eq!(site.good(&["events", "--follow", "--until", "2h"]), "");
    assert_eq!(site.good(&["events", "--follow", "--until", "2h", "--http", &http]), "");
    assert_eq!(site.good(&["events", "--after", "0", "--follow", "--until", "2h", "--http", &http]), "");
    gateway.stop();
    replay();
}

/// A small file system of its own, gone when dropped. It needs root.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Small {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test needs root");
        Small(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_nothing_is_left_behind_and_the_right_file_is_named() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 2000).await;
    gateway.stop();
    let backup = site.file("backup");
    site.good(&["backup", backup.to_str().expect("is text")]);

    let small = Small::mount("256k");
    let target = small.0.path().join("backup");
    let (code, _, err) = site.verb(&["backup", target.to_str().expect("is text")]);
    assert!(code == Some(74) && err.contains(target.to_str().expect("is text")), "{code:?}: {err}");
    assert!(listing(small.0.path()).is_empty());
    let target = small.0.path().join("all.jsonl");
    let (code, _, err) = site.verb(&["outbox", "export", "--to", target.to_str().expect("is text")]);
    assert!(code == Some(74) && err.contains("all.jsonl"), "{code:?}: {err}");
    assert!(listing(small.0.path()).is_empty());

    // A disk of 256 KB as the data folder of another.
    let other = Site::at(tempfile::tempdir().expect("a folder"), small.0.path(), None, "");
    let (code, _, err) = other.verb(&["restore", backup.to_str().expect("is text")]);
    assert!(code == Some(74) && err.contains("events.db.restoring"), "{code:?}: {err}");
    assert_eq!(listing(small.0.path()).into_keys().collect::<Vec<_>>(), ["events.lock"]);
    let (code, _, err) = other.verb(&["check"]);
    assert!(code == Some(69) && err.contains("reserve_mb = 128"), "{code:?}: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_interrupted_or_was_killed_leaves_nothing() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 3000).await;
    let targets = site.file("targets");
    // What a killed one left.
    fs::create_dir_all(targets.join(".vestibule-backup-old/plugins")).expect("is made");
    let target = targets.join("backup");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("backup").arg(&target).arg("--config").arg(site.config());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    let begun = Instant::now();
    // It has begun its own, and cleared the old one away.
    while !listing(&targets).keys().any(|name| name != ".vestibule-backup-old") {
        assert!(begun.elapsed() < DEADLINE, "it does not begin");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), Signal::SIGINT).expect("is there");
    let code = child.wait().expect("ends").code();
    // It may have been done already, and then it is whole.
    let left: Vec<String> = listing(&targets).into_keys().collect();
    match code {
        Some(75) => assert!(left.is_empty(), "{left:?}"),
        Some(0) => assert_eq!(left, ["backup"]),
        other => panic!("{other:?}: {left:?}"),
    }
    gateway.stop();
}
