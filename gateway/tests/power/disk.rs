//! A disk with a volatile cache: what is written is there until the power is cut, what was synced is there for ever.
//!
//! Two trees stand side by side. The volatile one is what programs see. The durable one is what a cut leaves:
//!
//! - Syncing a file makes its bytes and its length durable (`fsync` and `fdatasync` alike), and nothing else: not its name.
//! - Syncing a folder makes the names in it durable, and nothing else: neither the bytes of its files nor its own name.
//! - Whatever happened since is pending, and [`Remains`](super::remains::Remains) decides what becomes of it.
//!
//! That is what POSIX promises and less than what ext4 and its like give, where syncing a new file brings its name along,
//! names come in the order in which they were made, and a rename over a file writes its bytes first.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Number of a file or folder.
pub(crate) type Node = u64;
/// The root folder: FUSE calls it so too.
pub(crate) const ROOT: Node = 1;

/// A change of a file that is not synced yet.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Change::Length(length) => bytes.resize(*length, 0),
        }
    }
}

/// A change of a folder that is not synced yet. A rename is one change, and happens wholly or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Naming {
    Set(OsString, Node),
    Remove(OsString),
    Rename(OsString, OsString, Node),
}

impl Naming {
    pub(crate) fn apply(&self, names: &mut BTreeMap<OsString, Node>) {
        match self {
            Naming::Set(name, node) => drop(names.insert(name.clone(), *node)),
            Naming::Remove(name) => drop(names.remove(name)),
            Naming::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) now: Vec<u8>,
    pub(crate) durable: Vec<u8>,
    pub(crate) pending: Vec<Change>,
}

/// A folder's names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) now: BTreeMap<OsString, Node>,
    pub(crate) durable: BTreeMap<OsString, Node>,
    pub(crate) pending: Vec<Naming>,
}

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    File(Bytes),
    Folder(Names),
}

/// Why something cannot be done, as the system calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NotThere,
    Exists,
    NotEmpty,
    IsFolder,
    IsNoFolder,
}

/// The disk. Nothing is ever freed before the cut: a name that is gone may come back with it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    entries: BTreeMap<Node, Entry>,
    /// Whether syncing does what it says. A disk that lies is there to be found out.
    honest: bool,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk { entries: BTreeMap::from([(ROOT, Entry::Folder(Names::default()))]), honest: true }
    }
}

impl Disk {
    /// One on which everything is durable.
    pub(crate) fn restored(entries: BTreeMap<Node, Entry>) -> Disk {
        Disk { entries, honest: true }
    }

    /// One with a copy of this folder, durable.
    pub(crate) fn of(folder: &Path) -> Disk {
        let mut disk = Disk::default();
        disk.import(folder, ROOT);
        disk.entries.keys().copied().collect::<Vec<_>>().into_iter().for_each(|node| disk.sync(node).unwrap());
        disk
    }

    fn import(&mut self, from: &Path, folder: Node) {
        for found in std::fs::read_dir(from).unwrap() {
            let (path, name) = found.map(|found| (found.path(), found.file_name())).unwrap();
            if path.is_dir() {
                let made = self.make(folder, &name, Entry::Folder(Names::default())).unwrap();
                self.import(&path, made);
            } else {
                let made = self.make(folder, &name, Entry::File(Bytes::default())).unwrap();
                self.change(made, Change::Write(0, std::fs::read(path).unwrap())).unwrap();
            }
        }
    }

    /// From now on nothing is durable any more, whatever is synced.
    pub(crate) fn lie(&mut self) {
        self.honest = false;
    }

    pub(crate) fn entries(&self) -> &BTreeMap<Node, Entry> {
        &self.entries
    }

    pub(crate) fn entry(&self, node: Node) -> Result<&Entry, Fault> {
        self.entries.get(&node).ok_or(Fault::NotThere)
    }

    pub(crate) fn bytes(&self, node: Node) -> Result<&Bytes, Fault> {
        match self.entry(node)? {
            Entry::File(bytes) => Ok(bytes),
            Entry::Folder(_) => Err(Fault::IsFolder),
        }
    }

    pub(crate) fn names(&self, node: Node) -> Result<&Names, Fault> {
        match self.entry(node)? {
            Entry::Folder(names) => Ok(names),
            Entry::File(_) => Err(Fault::IsNoFolder),
        }
    }

    fn names_mut(&mut self, node: Node) -> Result<&mut Names, Fault> {
        match self.entries.get_mut(&node) {
            Some(Entry::Folder(names)) => Ok(names),
            Some(Entry::File(_)) => Err(Fault::IsNoFolder),
            None => Err(Fault::NotThere),
        }
    }

    pub(crate) fn find(&self, folder: Node, name: &OsStr) -> Result<Node, Fault> {
        self.names(folder)?.now.get(name).copied().ok_or(Fault::NotThere)
    }

    /// Makes a file or folder.
    pub(crate) fn make(&mut self, folder: Node, name: &OsStr, entry: Entry) -> Result<Node, Fault> {
        if self.find(folder, name).is_ok() {
            return Err(Fault::Exists);
        }
        let node = self.entries.last_key_value().map_or(ROOT, |(last, _)| *last) + 1;
        self.name(folder, Naming::Set(name.to_owned(), node))?;
        self.entries.insert(node, entry);
        Ok(node)
    }

    pub(crate) fn change(&mut self, node: Node, change: Change) -> Result<(), Fault> {
        match self.entries.get_mut(&node) {
            Some(Entry::File(bytes)) => {
                change.apply(&mut bytes.now);
                bytes.pending.push(change);
                Ok(())
            }
            Some(Entry::Folder(_)) => Err(Fault::IsFolder),
            None => Err(Fault::NotThere),
        }
    }

    /// Takes a name away from a file, or from an empty folder.
    pub(crate) fn remove(&mut self, folder: Node, name: &OsStr) -> Result<(), Fault> {
        if let Ok(names) = self.names(self.find(folder, name)?)
            && !names.now.is_empty()
        {
            return Err(Fault::NotEmpty);
        }
        self.name(folder, Naming::Remove(name.to_owned()))
    }

    /// Renames within a folder; what had the name before loses it.
    pub(crate) fn rename(&mut self, folder: Node, from: &OsStr, to: &OsStr) -> Result<(), Fault> {
        let node = self.find(folder, from)?;
        self.name(folder, Naming::Rename(from.to_owned(), to.to_owned(), node))
    }

    fn name(&mut self, folder: Node, naming: Naming) -> Result<(), Fault> {
        let names = self.names_mut(folder)?;
        naming.apply(&mut names.now);
        names.pending.push(naming);
        Ok(())
    }

    /// Makes a file's bytes, or a folder's names, durable.
    pub(crate) fn sync(&mut self, node: Node) -> Result<(), Fault> {
        let honest = self.honest;
        match self.entries.get_mut(&node).ok_or(Fault::NotThere)? {
            _ if !honest => {}
            Entry::File(bytes) => bytes.pending.drain(..).for_each(|change| change.apply(&mut bytes.durable)),
            Entry::Folder(names) => names.pending.drain(..).for_each(|naming| naming.apply(&mut names.durable)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_names_and_folders_are_durable_each_by_their_own_sync() {
        let mut disk = Disk::default();
        let folder = disk.make(ROOT, "folder".as_ref(), Entry::Folder(Names::default())).unwrap();
        let file = disk.make(folder, "file".as_ref(), Entry::File(Bytes::default())).unwrap();
        disk.change(file, Change::Write(3, b"new".to_vec())).unwrap();
        disk.sync(file).unwrap();
        assert_eq!(disk.bytes(file).unwrap().durable, b"\0\0\0new");
        assert!(disk.names(folder).unwrap().durable.is_empty(), "its name is another matter");
        disk.sync(folder).unwrap();
        assert_eq!(disk.names(folder).unwrap().durable.len(), 1);
        assert!(disk.names(ROOT).unwrap().durable.is_empty(), "so is the folder's");
        disk.change(file, Change::Length(1)).unwrap();
        disk.rename(folder, "file".as_ref(), "other".as_ref()).unwrap();
        assert_eq!((disk.bytes(file).unwrap().durable.len(), disk.find(folder, "other".as_ref())), (6, Ok(file)));
        assert!(disk.names(folder).unwrap().durable.contains_key(OsStr::new("file")));
        assert_eq!(disk.remove(ROOT, "folder".as_ref()), Err(Fault::NotEmpty));
    }

    #[test]
    fn a_disk_that_lies_keeps_what_it_had() {
        let mut disk = Disk::default();
        let file = disk.make(ROOT, "file".as_ref(), Entry::File(Bytes::default())).unwrap();
        disk.change(file, Change::Write(0, b"kept".to_vec())).unwrap();
        disk.sync(file).unwrap();
        disk.lie();
        disk.change(file, Change::Write(0, b"lost".to_vec())).unwrap();
        disk.sync(file).unwrap();
        let bytes = disk.bytes(file).unwrap();
        assert_eq!((&*bytes.now, &*bytes.durable), (&b"lost"[..], &b"kept"[..]));
    }
}
