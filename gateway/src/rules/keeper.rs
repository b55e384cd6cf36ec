//! Puts plugins in force, replaces and removes them, while everything runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::bundled;
use super::folder::{Change, Folder, SETTLE};
use super::load;
use super::worker::{Context, Worker, gateway_event, lag};
use crate::event::{Event, Kind};
use crate::log::{PluginCommit, Submission};

/// How often the folder is looked at where nothing says that it changed: some file systems never say so.
const POLL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Message {
    /// The folder says that something changed.
    Touched,
    Stop,
}

/// The running rules.
#[derive(Debug)]
pub struct Rules {
    messages: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Rules {
    pub(super) fn new(messages: mpsc::Sender<Message>, thread: JoinHandle<()>) -> Rules {
        Rules { messages, thread: Some(thread) }
    }

    /// Ends every plugin after its running batch, and waits for that.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // A keeper that no longer listens has ended.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The rules' keeper ended in a panic.");
        }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where a plugin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Bundled,
    Folder,
}

struct InForce {
    worker: Worker,
    origin: Origin,
}

/// A keeper that has not begun.
pub(super) struct Start {
    keeper: Keeper,
    messages: mpsc::Receiver<Message>,
    begin: u64,
}

impl Start {
    /// Notes where the rules begin; the other part is what the keeper is told by.
    pub(super) fn new(context: Context) -> (Start, mpsc::Sender<Message>) {
        let (touched, messages) = mpsc::channel();
        let begin = *context.log.head().borrow();
        let folder = context.config.dir.clone().map(Folder::new);
        expect_newcomers(&context, begin);
        show_lag(&context, folder.as_ref(), begin);
        let keeper = Keeper { context, folder, workers: BTreeMap::new(), touched: touched.clone(), watcher: None };
        (Start { keeper, messages, begin }, touched)
    }

    /// Keeps the rules until they are to stop.
    pub(super) fn run(self) {
        self.keeper.run(&self.messages, self.begin);
    }
}

struct Keeper {
    context: Context,
    folder: Option<Folder>,
    workers: BTreeMap<String, InForce>,
    touched: mpsc::Sender<Message>,
    watcher: Option<RecommendedWatcher>,
}

impl Keeper {
    fn run(mut self, messages: &mpsc::Receiver<Message>, begin: u64) {
        // Watched before it is read, so that nothing falls in between.
        self.watch();
        let mut changes = self.scan(true);
        // A file of the same name stands for a bundled rule; a broken one leaves the bundled rule in force.
        for name in self.context.config.bundled.clone() {
            let Some(bytes) = bundled::find(&name) else { continue };
            let replaced =
                changes.iter().position(|change| matches!(change, Change::Present { id, .. } if *id == name));
            match replaced.map(|place| changes.remove(place)) {
                Some(Change::Present { bytes: own, .. }) if self.put(&name, &own, Origin::Folder, begin) => {}
                _ => drop(self.put(&name, bytes, Origin::Bundled, begin)),
            }
        }
        changes.into_iter().for_each(|change| self.apply(change, begin));
        // Only now is it known who is there: what those need that are not, nobody needs.
        self.hold();
        loop {
            let unsettled = self.folder.as_ref().is_some_and(Folder::is_unsettled);
            let mut thorough = match messages.recv_timeout(if unsettled { SETTLE } else { POLL }) {
                Ok(Message::Touched) => true,
                Err(mpsc::RecvTimeoutError::Timeout) => false,
                Ok(Message::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            while let Ok(message) = messages.try_recv() {
                match message {
                    Message::Touched => thorough = true,
                    Message::Stop => return self.end(),
                }
            }
            self.watch();
            let begin = *self.context.log.head().borrow();
            self.scan(thorough).into_iter().for_each(|change| self.apply(change, begin));
            self.hold();
        }
        self.end();
    }

    fn end(self) {
        // All are told first: each ends on its own thread, and this waits for the slowest alone.
        let workers: Vec<_> = self.workers.into_values().map(|in_force| in_force.worker).collect();
        workers.into_iter().for_each(Worker::stop);
    }

    /// Has events kept for the rules in force, and for no others.
    fn hold(&self) {
        self.context.log.keep_for_rules(self.workers.keys().cloned().collect());
    }

    /// Has the folder watched, if it is there.
    fn watch(&mut self) {
        let Some(folder) = self.folder.as_ref().filter(|_| self.watcher.is_none()) else { return };
        match watcher(folder.dir(), self.touched.clone()) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                tracing::debug!(%error, "The plugin folder is not watched; it is looked at every few seconds.")
            }
        }
    }

    fn scan(&mut self, thorough: bool) -> Vec<Change> {
        let Some(folder) = &mut self.folder else { return Vec::new() };
        folder.scan(Instant::now(), thorough).unwrap_or_else(|error| {
            if self.watcher.take().is_some() || thorough {
                let dir = folder.dir().display();
                tracing::warn!(%error, "The plugin folder {dir} cannot be read; what is in force stays so.");
            }
            Vec::new()
        })
    }

    fn apply(&mut self, change: Change, begin: u64) {
        match change {
            Change::Present { id, bytes } => drop(self.put(&id, &bytes, Origin::Folder, begin)),
            Change::Bad { id, reason } => self.refuse(&id, &reason),
            Change::Absent { id } if self.workers.get(&id).is_some_and(|one| one.origin == Origin::Folder) => {
                let bundled = self.context.config.bundled.contains(&id).then(|| bundled::find(&id)).flatten();
                if !bundled.is_some_and(|bytes| self.put(&id, bytes, Origin::Bundled, begin)) {
                    self.remove(&id);
                }
            }
            Change::Absent { .. } => {}
        }
    }

    /// Loads a plugin and puts it in force; where that fails, what was in force stays so.
    fn put(&mut self, id: &str, bytes: &[u8], origin: Origin, begin: u64) -> bool {
        let plugin = match load::load(&self.context.engine, bytes) {
            Ok(plugin) => Arc::new(plugin),
            Err(error) => {
                self.refuse(id, &error.to_string());
                return false;
            }
        };
        let source = if origin == Origin::Bundled { "bundled" } else { "folder" };
        let loaded = gateway_event(Kind::GatewayPluginLoaded, id)
            .detail(format!("{id} is in force ({} {}, {source})", plugin.name, plugin.version))
            .attribute("name", plugin.name.as_str())
            .attribute("version", plugin.version.as_str())
            .attribute("source", source)
            .attribute("hash", plugin.hash.to_hex().as_str());
        match self.workers.get_mut(id) {
            Some(in_force) => {
                in_force.worker.replace(plugin);
                in_force.origin = origin;
                self.tell(loaded);
            }
            None => match Worker::start(&self.context, id, plugin, begin, loaded) {
                Ok(worker) => drop(self.workers.insert(id.to_owned(), InForce { worker, origin })),
                Err(error) => {
                    self.refuse(id, &error.to_string());
                    return false;
                }
            },
        }
        self.context.metrics.rule_reloads.with_label_values(&["loaded"]).inc();
        self.context.metrics.rule_loaded.with_label_values(&[id]).set(1);
        tracing::info!(plugin = id, source, "A rule is in force.");
        true
    }

    fn remove(&mut self, id: &str) {
        let Some(in_force) = self.workers.remove(id) else { return };
        in_force.worker.stop();
        for gauge in [&self.context.metrics.rule_loaded, &self.context.metrics.rule_paused] {
            gauge.with_label_values(&[id]).set(0);
        }
        tracing::info!(plugin = id, "A rule was taken away.");
        self.tell(gateway_event(Kind::GatewayPluginRemoved, id).detail(format!("{id} was taken away")));
    }

    fn refuse(&self, id: &str, reason: &str) {
        let id: String = id.chars().take(64).collect();
        let stays = if self.workers.contains_key(&id) { "; the one before stays in force" } else { "" };
        tracing::warn!(plugin = id, reason, "A rule was refused{stays}.");
        self.context.metrics.rule_reloads.with_label_values(&["refused"]).inc();
        let event = gateway_event(Kind::GatewayPluginRefused, &id).attribute("reason", reason);
        self.tell(event.detail(format!("{id} was refused: {reason}{stays}")));
    }

    fn tell(&self, event: Event) {
        // Nobody waits for it: where there is no room now, it is told later.
        if self.context.log.enqueue(Submission { events: vec![event.into()], ..Submission::default() }).is_err() {
            tracing::debug!("The log has stopped; an event about a rule is not kept.");
        }
    }
}

/// Notes where the bundled rules begin that were never here: with the first event that is committed after this. Loading them
/// takes a moment, and a gateway that is killed in it must not begin behind what came meanwhile.
fn expect_newcomers(context: &Context, cursor: u64) {
    for plugin in &context.config.bundled {
        if let Ok(None) = context.log.plugin_cursor(plugin) {
            let commit = PluginCommit { plugin: plugin.clone(), cursor, state: Vec::new() };
            // It rides along; nobody waits for it, and where the log has stopped nothing is committed any more.
            let _ = context.log.enqueue(Submission { plugin: Some(commit), ..Submission::default() });
        }
    }
}

/// Shows how far behind each plugin is that was here before: loading it takes a moment, in which it is no less behind.
fn show_lag(context: &Context, folder: Option<&Folder>, head: u64) {
    let ids = context.config.bundled.iter().cloned().chain(folder.into_iter().flat_map(Folder::ids));
    for id in ids {
        if let Ok(Some(cursor)) = context.log.plugin_cursor(&id) {
            context.metrics.rule_lag.with_label_values(&[id.as_str()]).set(lag(head, cursor));
        }
    }
}

/// Watches the folder, and tells of what may concern a plugin.
fn watcher(dir: &Path, touched: mpsc::Sender<Message>) -> notify::Result<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        let concerns = match event {
            Ok(event) => concerns_plugins(&event),
            // What was missed nobody knows: look at everything.
            Err(_) => true,
        };
        if concerns {
            // A keeper that no longer listens has ended, and the watcher ends with it.
            let _ = touched.send(Message::Touched);
        }
    };
    let mut watcher = notify::recommended_watcher(tell)?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn concerns_plugins(event: &notify::Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    // Reading is no change; the keeper reads too, and would wake itself for ever.
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    let wasm = |path: &std::path::PathBuf| path.extension().is_none_or(|extension| extension == "wasm");
    event.paths.is_empty() || event.paths.iter().any(wasm)
}
