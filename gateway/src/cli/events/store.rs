//! Events straight from a store: a gateway may be writing to it, or begin another in its place.

use std::path::Path;
use std::time::Duration;

use super::{Asked, Screen};
use crate::cli::exit::Exit;
use crate::log::{LogError, Records, Stored};

/// Events read at once.
const PAGE: usize = 1000;
/// How often the end of the log is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How many looks later it is asked whether it is still the same store.
const LOOKS: u32 = 5;

pub(super) fn show(dir: &Path, asked: &Asked, screen: &mut Screen) -> Result<(), Exit> {
    let failed = |error: LogError| Exit::io(error.to_string());
    let filter = asked.which.filter();
    let wanted = |stored: &Stored| filter.wants(&stored.event);
    let mut records = Records::open(dir).map_err(|error| Exit::no_input(error.to_string()))?;
    let mut epoch = records.epoch().map_err(failed)?;
    let mut at = match asked.after {
        Some(after) => after,
        None => {
            let head = records.head().map_err(failed)?;
            let limit = asked.limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let newest =
                if limit > 0 { records.newest(limit, usize::MAX, wanted).map_err(failed)? } else { Vec::new() };
            // What came between the two questions is shown once.
            for stored in newest.iter().filter(|stored| stored.seq <= head) {
                if !screen.show(stored)? {
                    return Ok(());
                }
            }
            if !asked.follow {
                return Ok(());
            }
            head
        }
    };
    let mut looks = 0;
    loop {
        let piece = match records.after(at, PAGE, PAGE, wanted) {
            Ok(piece) => piece,
            // It may have been replaced at this moment.
            Err(_) if asked.follow && looks < LOOKS => {
                looks = LOOKS;
                crate::log::Piece { upto: at, ..crate::log::Piece::default() }
            }
            Err(error) => return Err(failed(error)),
        };
        for stored in &piece.events {
            if !screen.show(stored)? {
                return Ok(());
            }
        }
        let moved = piece.upto > at;
        at = piece.upto;
        if moved {
            continue;
        }
        // What is shown must be seen, and a reader that has gone away must be noticed.
        if !screen.out.flush()? || !asked.follow || screen.gone() {
            return Ok(());
        }
        std::thread::sleep(LOOK);
        looks += 1;
        if looks >= LOOKS {
            looks = 0;
            // Another store in its place, or another life of the same: all that this life appends is new.
            let Ok(fresh) = Records::open(dir) else { continue };
            let found = fresh.epoch().map_err(failed)?;
            if found != epoch {
                at = at.min(fresh.born_after().map_err(failed)?);
                epoch = found;
            }
            records = fresh;
        }
    }
}
