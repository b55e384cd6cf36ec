//! A disk that became read-only.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::damage::{LINES, broker, hear, life};
use crate::mosquitto::free_port;
use crate::site::Site;

/// A file system of its own, gone when dropped. It needs root.
struct Disk {
    folder: tempfile::TempDir,
    /// The loop device that it is on, by its name in /sys; without one it is in memory.
    device: Option<String>,
}

impl Disk {
    /// ext4, where this machine has loop devices, so that it can break while a gateway writes; else tmpfs.
    fn mount() -> Disk {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("disk")).expect("is made");
        let mut disk = Disk { folder, device: None };
        let image = disk.folder.path().join("image");
        let made = File::create(&image).and_then(|file| file.set_len(64 << 20)).is_ok()
            && call("mkfs.ext4", &["-q"], &image)
            && call("mount", &["-o", "loop,errors=remount-ro", image.to_str().expect("is text")], &disk.path());
        if made {
            let mounts = fs::read_to_string("/proc/mounts").expect("reads");
            let line = mounts.lines().find(|line| line.contains(disk.path().to_str().expect("is text")));
            let device = line.and_then(|line| line.split(' ').next()).and_then(|device| device.strip_prefix("/dev/"));
            disk.device = Some(device.expect("is mounted").to_owned());
        } else {
            assert!(call("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs"], &disk.path()), "this test needs root");
        }
        disk
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("disk")
    }

    /// Writable again, as after a repair.
    fn mend(&self) {
        match &self.device {
            None => assert!(call("mount", &["-o", "remount,rw"], &self.path())),
            Some(_) => {
                let image = self.folder.path().join("image");
                assert!(call("umount", &[], &self.path()));
                call("e2fsck", &["-p"], &image);
                assert!(call("mount", &["-o", "loop", image.to_str().expect("is text")], &self.path()));
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        call("umount", &["-l"], &self.path());
    }
}

fn call(program: &str, arguments: &[&str], path: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_became_read_only_it_says_so_and_what_is_there_can_be_saved() {
    let disk = Disk::mount();
    let data = disk.path().join("data");
    let port = free_port();
    let site = Site::at(tempfile::tempdir().expect("a folder"), &data, Some(port), "log.reserve_mb = 0");
    let mut gateway = site.start();
    site.feed(1, LINES).await;
    match &disk.device {
        // As a file system does by itself after an error: the gateway that runs cannot commit, and ends.
        Some(device) => {
            fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").expect("is triggered");
            let mut source = crate::gateway::Source::connect(site.lines).await;
            source.say(b"{\"kind\":\"supply.low\"}\n").await;
            assert_eq!(gateway.ended().code(), Some(74), "{}", site.said());
            assert!(
                source.answer().await.is_none_or(|answer| answer["seq"].is_null()),
                "what is not kept is not acknowledged"
            );
        }
        None => {
            gateway.kill();
            assert!(call("mount", &["-o", "remount,ro"], &disk.path()));
        }
    }
    // A start says what to do, and the verb that it names does it.
    let (code, said) = site.start_in_vain();
    assert_eq!(code, Some(73), "{said}");
    let last = said.lines().last().expect("a sentence");
    let store = data.join("events.db");
    assert!(last.contains("ead-only file system"), "{last}");
    assert!(last.contains(&format!("vestibule outbox salvage {} --to", store.display())), "{last}");
    let saved = site.file("saved.jsonl");
    let output = site.run(&["outbox", "salvage", store.to_str().expect("text"), "--to", saved.to_str().expect("text")]);
    assert!(output.status.success(), "{output:?}");
    let saved = fs::read_to_string(saved).expect("reads");
    assert_eq!(saved.lines().filter(|line| line.contains("\"number ")).count(), usize::try_from(LINES).expect("small"));
    // Writable again, it goes on as if nothing had been.
    disk.mend();
    let (_broker, mut subscriber) = broker(port).await;
    let gateway = site.start();
    let heard = hear(&mut subscriber, 1..=LINES, &[]).await;
    assert_eq!(life(&heard[&1]), life(&heard[&LINES]));
    gateway.stop();
}
