//! What a power cut leaves of a disk: everything that was synced, and of the rest what the seed says.

use std::collections::BTreeMap;

use vestibule::simulate::Random;

use super::disk::{Bytes, Change, Disk, Entry, Names, Node, ROOT};

/// What the disk writes at once, or not at all.
const SECTOR: usize = 512;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Remains {
    /// Nothing of it is left: the cache was never written.
    Nothing,
    /// All of it is left: the cache was just written, and nobody was told.
    Everything,
    /// Each write and each name is left or not, and they come in any order.
    Some,
    /// Each sector has what it had at any moment since the sync, whatever the sectors beside it have; a file's length is
    /// one of those that it had.
    Torn,
    /// As torn; and sectors behind the synced length that were never written hold what was on the disk before: noise.
    Noise,
}

impl Remains {
    pub(crate) const ALL: [Remains; 5] =
        [Remains::Nothing, Remains::Everything, Remains::Some, Remains::Torn, Remains::Noise];

    /// The disk as it is found when the power is back.
    pub(crate) fn of(self, disk: &Disk, random: &mut Random) -> Disk {
        let mut left = BTreeMap::new();
        self.collect(disk, ROOT, &mut left, random);
        // The machine starts again, which this one does not: what the gateway noted of its boot is of another.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let notes = left.values_mut().filter_map(|entry| match entry {
            Entry::File(bytes) if bytes.durable == boot.trim().as_bytes() => Some(bytes),
            _ => None,
        });
        for note in notes {
            note.durable = b"the boot before".to_vec();
            note.now.clone_from(&note.durable);
        }
        Disk::restored(left)
    }

    /// Collects what can still be reached by name.
    fn collect(self, disk: &Disk, node: Node, left: &mut BTreeMap<Node, Entry>, random: &mut Random) {
        match &disk.entries()[&node] {
            Entry::File(bytes) => {
                let durable = self.bytes(bytes, random);
                left.insert(node, Entry::File(Bytes { now: durable.clone(), durable, pending: Vec::new() }));
            }
            Entry::Folder(names) => {
                let mut durable = names.durable.clone();
                let pending = names.pending.iter().filter(|_| self.keeps(random));
                pending.for_each(|naming| naming.apply(&mut durable));
                for node in durable.values() {
                    self.collect(disk, *node, left, random);
                }
                left.insert(node, Entry::Folder(Names { now: durable.clone(), durable, pending: Vec::new() }));
            }
        }
    }

    /// Whether one change is left.
    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Remains::Nothing => false,
            Remains::Everything => true,
            Remains::Some | Remains::Torn | Remains::Noise => random.below(2) == 0,
        }
    }

    fn bytes(self, bytes: &Bytes, random: &mut Random) -> Vec<u8> {
        match self {
            Remains::Nothing => bytes.durable.clone(),
            Remains::Everything => bytes.now.clone(),
            Remains::Some => {
                let mut left = bytes.durable.clone();
                let mut changes: Vec<&Change> = bytes.pending.iter().filter(|_| self.keeps(random)).collect();
                shuffle(&mut changes, random);
                changes.into_iter().for_each(|change| change.apply(&mut left));
                left
            }
            Remains::Torn => torn(bytes, |_| 0, random),
            Remains::Noise => {
                let mut noise = random.clone();
                torn(bytes, |_| noise.bits().to_le_bytes()[0], random)
            }
        }
    }
}

/// Each sector as it was at any moment since the sync; `fill` is what stands where nothing was ever written.
fn torn(bytes: &Bytes, mut fill: impl FnMut(usize) -> u8, random: &mut Random) -> Vec<u8> {
    let mut now = bytes.durable.clone();
    let mut left: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut versions: BTreeMap<usize, u32> = BTreeMap::new();
    let mut length = now.len();
    for (lengths, change) in (1..).zip(&bytes.pending) {
        let before = now.len();
        change.apply(&mut now);
        let touched = match change {
            Change::Write(offset, written) => (*offset).min(before)..offset + written.len(),
            Change::Length(length) => before.min(*length)..before.max(*length),
        };
        // Each version is as likely to be the one that is left.
        for sector in touched.start / SECTOR..touched.end.div_ceil(SECTOR) {
            let nth = versions.entry(sector).or_insert(0);
            *nth += 1;
            if random.below(*nth + 1) == 0 {
                left.insert(sector, slice(&now, sector).to_vec());
            }
        }
        if random.below(lengths + 1) == 0 {
            length = now.len();
        }
    }
    let mut image = bytes.durable.clone();
    let synced = image.len();
    image.extend((synced..length).map(&mut fill));
    image.truncate(length);
    for (sector, content) in left {
        let start = sector * SECTOR;
        if start < image.len() {
            let end = (start + content.len()).min(image.len());
            image[start..end].copy_from_slice(&content[..end - start]);
        }
    }
    image
}

fn slice(bytes: &[u8], sector: usize) -> &[u8] {
    let start = (sector * SECTOR).min(bytes.len());
    &bytes[start..(start + SECTOR).min(bytes.len())]
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        let bound = u32::try_from(last + 1).unwrap();
        items.swap(last, usize::try_from(random.below(bound)).unwrap());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Naming;

    /// Three sectors of `a`, synced; then `b` over the second and half of the third, then `c` behind the end.
    fn disk() -> (Disk, Node) {
        let mut disk = Disk::default();
        let file = disk.make(ROOT, "file".as_ref(), Entry::File(Bytes::default())).unwrap();
        disk.change(file, Change::Write(0, vec![b'a'; 3 * SECTOR])).unwrap();
        disk.sync(file).unwrap();
        disk.sync(ROOT).unwrap();
        disk.change(file, Change::Write(SECTOR, vec![b'b'; SECTOR + SECTOR / 2])).unwrap();
        disk.change(file, Change::Write(4 * SECTOR, vec![b'c'; SECTOR])).unwrap();
        disk.make(ROOT, "new".as_ref(), Entry::File(Bytes::default())).unwrap();
        (disk, file)
    }

    /// What of it is left, for many seeds: each sector by its first and last byte, and how many names there are.
    fn left(remains: Remains) -> BTreeMap<(String, usize), u32> {
        let (disk, file) = disk();
        let mut left = BTreeMap::new();
        for seed in 0..400 {
            let found = remains.of(&disk, &mut Random::new(seed));
            let bytes = &found.bytes(file).unwrap().durable;
            let ends = bytes.chunks(SECTOR).flat_map(|sector| [sector[0], sector[sector.len() - 1]]);
            let text = ends.map(|byte| if byte == 0 { '.' } else { char::from(byte) }).collect();
            *left.entry((text, found.names(ROOT).unwrap().durable.len())).or_default() += 1;
        }
        left
    }

    #[test]
    fn what_was_synced_is_always_there_and_the_rest_as_the_seed_says() {
        let only = |text: &str, names| BTreeMap::from([((text.to_owned(), names), 400)]);
        assert_eq!(left(Remains::Nothing), only("aaaaaa", 1));
        assert_eq!(left(Remains::Everything), only("aabbba..cc", 2));
        // Two writes and a name, each there or not.
        assert_eq!(left(Remains::Some).len(), 8);
        // Of the second and third sector each is old or new; the end is where it was, or new with or without what is in it.
        let torn = left(Remains::Torn);
        assert_eq!(torn.len(), 2 * 2 * 3 * 2, "{torn:?}");
        assert!(torn.keys().all(|(text, _)| text.starts_with("aa")), "{torn:?}");
        let noise = left(Remains::Noise);
        assert!(
            noise.keys().any(|(text, _)| text.chars().count() == 10 && !text.ends_with("cc") && !text.ends_with(".."))
        );
    }

    #[test]
    fn a_rename_is_there_wholly_or_not_at_all() {
        let mut disk = Disk::default();
        disk.make(ROOT, "old".as_ref(), Entry::File(Bytes::default())).unwrap();
        disk.sync(ROOT).unwrap();
        disk.rename(ROOT, "old".as_ref(), "new".as_ref()).unwrap();
        assert!(matches!(disk.names(ROOT).unwrap().pending[..], [Naming::Rename(..)]));
        for seed in 0..20 {
            let found = Remains::Some.of(&disk, &mut Random::new(seed));
            assert_eq!(found.names(ROOT).unwrap().durable.len(), 1);
        }
    }
}
