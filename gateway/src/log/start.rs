//! From a data folder to a log that runs: what the store knows is read, then its writer gets a thread.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use super::board::Board;
use super::dating::{self, Dating};
use super::place::{number, place};
use super::queue::Queue;
use super::read::Reader;
use super::reading::open_reader;
use super::retention::Known;
use super::tail::Tail;
use super::transaction::Ledger;
use super::writer::{Short, Writer};
use super::{Beginning, Config, Fold, Inner, Log, OpenError, Progress, Standing};
use super::{checkpoint, open, pruning, register, space, written};
use crate::metrics::Metrics;

/// A log that has just been opened.
pub struct Opened {
    /// The log.
    pub log: Log,
    /// Where a damaged store was put, if one was found; the log is then a new one, with a new epoch.
    pub set_aside: Option<PathBuf>,
    /// Terminals whose state was taken over from that one: what was open there still is.
    pub taken_over: u64,
    /// The newest time among its last events at which the clock was known to be right.
    pub newest_confirmed: Option<Timestamp>,
    /// Whether events of the machine's present boot wait for the clock to be right.
    pub undated: bool,
    /// How its life began, where that has not been told yet: nothing was appended since.
    pub beginning: Option<Beginning>,
}

impl Log {
    /// Opens the store and starts its writer.
    ///
    /// # Errors
    /// Where the folder cannot be used or the store cannot be trusted; see [`OpenError`].
    pub fn open(
        config: &Config,
        gateway: &str,
        mut fold: Box<dyn Fold>,
        metrics: Arc<Metrics>,
    ) -> Result<Opened, OpenError> {
        let store = open::open(&config.dir)?;
        let last: Option<i64> = store.connection.query_row("SELECT max(seq) FROM event", [], |row| row.get(0))?;
        let last = place(last.unwrap_or(0));
        let (terminals, standings) = read_terminals(&store.connection, &mut *fold, last)?;
        let dating = Arc::new(Dating::load(&store.connection, store.boot)?);
        let newest_confirmed = dating::newest_confirmed(&store.connection)?;
        let undated = dating::is_undated(&store.connection, store.boot)?;
        let progress = Progress::stored(&store.connection)?;
        let board = Arc::new(Board::new(standings, register::load(&store.connection)?));
        let (sender, head) = watch::channel(last);
        let (commands_sender, commands) = watch::channel(0);
        let (refuses_sender, refuses) = watch::channel(None);
        let needs = Arc::<Known>::default();
        let (queue, tail) = (Arc::<Queue>::default(), Arc::new(Tail::new(config.tail_events)));
        let id_prefix = format!("{gateway}-{}", store.epoch);
        metrics.log_appended.set(number(last));
        metrics.log_accepting.set(1);
        let checkpoints = checkpoint::Checkpoints::start(&store.path, Arc::clone(&metrics))?;
        let wal_most = checkpoint::most_bytes(config.budget());
        let writer = Writer {
            connection: store.connection,
            path: store.path.clone(),
            ledger: Ledger {
                id_prefix: id_prefix.clone(),
                boot: store.boot,
                boot_uuid: store.boot_uuid,
                undated,
                max_event_bytes: config.max_event_bytes,
                head: last,
                terminals,
                fold,
            },
            queue: Arc::clone(&queue),
            tail: Arc::clone(&tail),
            board: Arc::clone(&board),
            dating: Arc::clone(&dating),
            pruning: pruning::Pruning::new(config),
            needs: Arc::clone(&needs),
            checkpoints,
            space: space::Space::new(&config.dir, config.reserve(), wal_most),
            head: sender,
            commands: commands_sender,
            refuses: refuses_sender,
            metrics,
            progress,
            followers: Vec::new(),
            short: Short::default(),
            lax: false,
        };
        let (lock, taken_over) = (store.lock, store.taken_over);
        let run = move || {
            writer.run();
            drop(lock);
        };
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(run).map_err(OpenError::Thread)?;
        let reader = Reader::new(open_reader(&store.path)?, dating);
        let inner = Inner {
            queue,
            tail,
            board,
            reader,
            head,
            commands,
            refuses,
            needs,
            written: written::Written::new(last),
            id_prefix,
            epoch: store.epoch,
            born_after: store.beginning.as_ref().map_or(0, |beginning| beginning.after),
            path: store.path,
            writer: Mutex::new(Some(thread)),
        };
        let beginning = store.beginning.filter(|beginning| beginning.after == last);
        Ok(Opened {
            log: Log(Arc::new(inner)),
            set_aside: store.set_aside,
            taken_over,
            newest_confirmed,
            undated,
            beginning,
        })
    }
}

/// The last place of each terminal and what is known of it; the fold goes on from its state.
fn read_terminals(
    connection: &Connection,
    fold: &mut dyn Fold,
    as_of: u64,
) -> rusqlite::Result<(HashMap<String, u64>, BTreeMap<String, Standing>)> {
    let (mut terminals, mut standings) = (HashMap::new(), BTreeMap::new());
    let mut select = connection.prepare("SELECT name, terminal_seq, state FROM terminal")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (name, state): (String, String) = (row.get(0)?, row.get(2)?);
        fold.load(&name, &state);
        let terminal_seq = place(row.get(1)?);
        let text = if state.is_empty() { "{}" } else { state.as_str() };
        let standing = Standing { state: Arc::from(text), terminal_seq, as_of, ..Standing::default() };
        standings.insert(name.clone(), standing);
        terminals.insert(name, terminal_seq);
    }
    Ok((terminals, standings))
}
