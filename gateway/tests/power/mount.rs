//! The disk as a file system, by FUSE: the programs on it are the real ones, through the real kernel.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, FileAttr, FileType, Filesystem, MountOption, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
};
use nix::libc::{EEXIST, EINVAL, EIO, EISDIR, ENOENT, ENOTCONN, ENOTDIR, ENOTEMPTY};

use super::disk::{Bytes, Change, Disk, Entry, Fault, Names, Node, ROOT};
use super::supply::{Act, Fate, Supply, When};

/// What the mount is called in the kernel's table, so that those of a test that died are known.
const NAME: &str = "vestibule-power";
/// The kernel may believe for so long what it was told: nobody else changes anything.
const BELIEVED: Duration = Duration::from_secs(3600);
const BLOCK: u32 = 512;

/// The disk, and the power it runs on.
#[derive(Debug)]
pub(crate) struct Powered {
    pub(crate) disk: Disk,
    pub(crate) supply: Supply,
    /// The names under which files and folders were made, for the supply.
    known_as: BTreeMap<Node, OsString>,
    since: SystemTime,
}

impl Powered {
    /// Does one act, if there is power.
    fn act<T>(&mut self, act: Act, name: &OsStr, work: impl FnOnce(&mut Disk) -> Result<T, Fault>) -> Result<T, i32> {
        match self.supply.judge(act, name) {
            Fate::Failed => Err(EIO),
            Fate::Untold => work(&mut self.disk).map_err(number).and(Err(EIO)),
            Fate::Done | Fate::Last => work(&mut self.disk).map_err(number),
        }
    }

    /// The same, on what has a number already.
    fn act_on<T>(&mut self, act: Act, node: Node, work: impl FnOnce(&mut Disk) -> Result<T, Fault>) -> Result<T, i32> {
        let name = self.known_as.get(&node).cloned().unwrap_or_default();
        self.act(act, &name, work)
    }

    fn make(&mut self, folder: Node, name: &OsStr, entry: Entry) -> Result<FileAttr, i32> {
        let node = self.act(Act::Name, name, |disk| disk.make(folder, name, entry))?;
        self.known_as.insert(node, name.to_owned());
        self.attributes(node)
    }

    /// What is read needs power too.
    fn read<T>(&self, look: impl FnOnce(&Disk) -> Result<T, Fault>) -> Result<T, i32> {
        if self.supply.is_cut() { Err(EIO) } else { look(&self.disk).map_err(number) }
    }

    fn attributes(&self, node: Node) -> Result<FileAttr, i32> {
        let (kind, size, links) = match self.disk.entry(node).map_err(number)? {
            Entry::File(bytes) => (FileType::RegularFile, u64::try_from(bytes.now.len()).unwrap_or(u64::MAX), 1),
            Entry::Folder(_) => (FileType::Directory, 0, 2),
        };
        Ok(FileAttr {
            ino: node,
            size,
            blocks: size.div_ceil(u64::from(BLOCK)),
            atime: self.since,
            mtime: self.since,
            ctime: self.since,
            crtime: self.since,
            kind,
            perm: 0o700,
            nlink: links,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

fn number(fault: Fault) -> i32 {
    match fault {
        Fault::NotThere => ENOENT,
        Fault::Exists => EEXIST,
        Fault::NotEmpty => ENOTEMPTY,
        Fault::IsFolder => EISDIR,
        Fault::IsNoFolder => ENOTDIR,
    }
}

/// A disk in its place. Dropped, it is taken away, whatever happens.
///
/// The process that serves it must never open a file of it: were it killed, the kernel would close that file first, and ask
/// for ever a process that is not there any more.
pub(crate) struct Mount {
    place: PathBuf,
    powered: Arc<Mutex<Powered>>,
    session: Option<BackgroundSession>,
}

impl Mount {
    pub(crate) fn new(place: &Path, disk: Disk, when: When) -> Mount {
        let known_as = known_as(&disk);
        let powered = Powered { disk, supply: Supply::on(when), known_as, since: SystemTime::now() };
        let powered = Arc::new(Mutex::new(powered));
        let options = [MountOption::FSName(NAME.to_owned()), MountOption::NoExec, MountOption::NoAtime];
        let session = fuser::spawn_mount2(Served(Arc::clone(&powered)), place, &options).unwrap_or_else(|fault| {
            panic!("this test mounts a file system by /dev/fuse, as root or with fusermount3: {fault}")
        });
        Mount { place: place.to_owned(), powered, session: Some(session) }
    }

    pub(crate) fn powered(&self) -> MutexGuard<'_, Powered> {
        lock(&self.powered)
    }

    /// Takes it away and gives the disk, with what was not synced.
    pub(crate) fn take(mut self) -> Disk {
        self.unmount();
        std::mem::take(&mut self.powered().disk)
    }

    fn unmount(&mut self) {
        // Whoever waits for the disk is not to wait for ever.
        self.powered().supply.cut();
        if let Some(session) = self.session.take() {
            unmount(&self.place);
            drop(session);
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Takes the mounts away that a test left which was killed: nobody serves them any more.
pub(crate) fn sweep() {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let left = table.lines().filter_map(|line| {
        let mut words = line.split(' ');
        (words.next() == Some(NAME)).then(|| words.next().map(PathBuf::from)).flatten()
    });
    let is_dead = |place: &PathBuf| place.metadata().is_err_and(|fault| fault.raw_os_error() == Some(ENOTCONN));
    for place in left.filter(is_dead) {
        unmount(&place);
        let _ = std::fs::remove_dir(place);
    }
}

fn unmount(place: &Path) {
    // Lazily: it goes at once, even where somebody still holds a file of it.
    let _ = Command::new("umount").arg("--lazy").arg(place).stderr(Stdio::null()).status();
}

fn lock(powered: &Mutex<Powered>) -> MutexGuard<'_, Powered> {
    powered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn known_as(disk: &Disk) -> BTreeMap<Node, OsString> {
    let names = disk.entries().values().filter_map(|entry| match entry {
        Entry::Folder(names) => Some(&names.now),
        Entry::File(_) => None,
    });
    names.flatten().map(|(name, node)| (*node, name.clone())).collect()
}

/// What the kernel asks.
struct Served(Arc<Mutex<Powered>>);

impl Served {
    fn lock(&self) -> MutexGuard<'_, Powered> {
        lock(&self.0)
    }
}

fn entry(reply: ReplyEntry, made: Result<FileAttr, i32>) {
    match made {
        Ok(attributes) => reply.entry(&BELIEVED, &attributes, 0),
        Err(number) => reply.error(number),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), i32>) {
    match done {
        Ok(()) => reply.ok(),
        Err(number) => reply.error(number),
    }
}

impl Filesystem for Served {
    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let powered = self.lock();
        entry(reply, powered.read(|disk| disk.find(parent, name)).and_then(|node| powered.attributes(node)));
    }

    fn getattr(&mut self, _: &Request<'_>, ino: u64, _: Option<u64>, reply: ReplyAttr) {
        let powered = self.lock();
        match powered.read(|disk| disk.entry(ino).map(|_| ())).and_then(|()| powered.attributes(ino)) {
            Ok(attributes) => reply.attr(&BELIEVED, &attributes),
            Err(number) => reply.error(number),
        }
    }

    fn setattr(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<u64>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<u32>,
        reply: ReplyAttr,
    ) {
        // Owner, mode and times are nobody's concern here; a length is.
        let mut powered = self.lock();
        let done = match size.map(usize::try_from) {
            Some(Ok(length)) => powered.act_on(Act::Length, ino, |disk| disk.change(ino, Change::Length(length))),
            Some(Err(_)) => Err(EINVAL),
            None => powered.read(|_| Ok(())),
        };
        match done.and_then(|()| powered.attributes(ino)) {
            Ok(attributes) => reply.attr(&BELIEVED, &attributes),
            Err(number) => reply.error(number),
        }
    }

    fn mkdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.lock().make(parent, name, Entry::Folder(Names::default())));
    }

    fn create(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.lock().make(parent, name, Entry::File(Bytes::default())) {
            Ok(attributes) => reply.created(&BELIEVED, &attributes, 0, 0, 0),
            Err(number) => reply.error(number),
        }
    }

    fn unlink(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.lock().act(Act::Name, name, |disk| disk.remove(parent, name)));
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.lock().act(Act::Name, name, |disk| disk.remove(parent, name)));
    }

    fn rename(
        &mut self,
        _: &Request<'_>,
        parent: u64,
        name: &OsStr,
        new_parent: u64,
        new_name: &OsStr,
        flags: u32,
        reply: ReplyEmpty,
    ) {
        if parent != new_parent || flags != 0 {
            // Nothing here moves files between folders; whoever begins to shall be noticed.
            return reply.error(EINVAL);
        }
        empty(reply, self.lock().act(Act::Name, name, |disk| disk.rename(parent, name, new_name)));
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        size: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        let powered = self.lock();
        let (start, size) = (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(size).unwrap_or(0));
        let slice = powered.read(|disk| {
            let bytes = &disk.bytes(ino)?.now;
            let start = start.min(bytes.len());
            Ok(bytes[start..start.saturating_add(size).min(bytes.len())].to_vec())
        });
        match slice {
            Ok(slice) => reply.data(&slice),
            Err(number) => reply.error(number),
        }
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        data: &[u8],
        _: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        let Ok(offset) = usize::try_from(offset) else { return reply.error(EINVAL) };
        let change = Change::Write(offset, data.to_vec());
        match self.lock().act_on(Act::Write, ino, |disk| disk.change(ino, change)) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(number) => reply.error(number),
        }
    }

    fn flush(&mut self, _: &Request<'_>, _: u64, _: u64, _: u64, reply: ReplyEmpty) {
        // Closing a file syncs nothing.
        empty(reply, self.lock().read(|_| Ok(())));
    }

    fn fsync(&mut self, _: &Request<'_>, ino: u64, _: u64, _: bool, reply: ReplyEmpty) {
        empty(reply, self.lock().act_on(Act::Sync, ino, |disk| disk.sync(ino)));
    }

    fn fsyncdir(&mut self, _: &Request<'_>, ino: u64, _: u64, _: bool, reply: ReplyEmpty) {
        empty(reply, self.lock().act_on(Act::Sync, ino, |disk| disk.sync(ino)));
    }

    fn readdir(&mut self, _: &Request<'_>, ino: u64, _: u64, offset: i64, mut reply: ReplyDirectory) {
        let powered = self.lock();
        let names = match powered.read(|disk| Ok(disk.names(ino)?.now.clone())) {
            Ok(names) => names,
            Err(number) => return reply.error(number),
        };
        let dots = [".", ".."].map(|dot| (OsString::from(dot), ROOT));
        let skipped = usize::try_from(offset).unwrap_or(0);
        for (next, (name, node)) in (1..).zip(dots.into_iter().chain(names)).skip(skipped) {
            let kind = match powered.disk.entry(node) {
                Ok(Entry::File(_)) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(node, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&mut self, _: &Request<'_>, _: u64, reply: ReplyStatfs) {
        // Room enough.
        reply.statfs(1 << 22, 1 << 21, 1 << 21, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}
