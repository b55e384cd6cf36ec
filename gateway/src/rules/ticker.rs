//! The clock of deadlines: moves the engine's epoch every millisecond while a plugin runs, and sleeps while none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Time between two ticks.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a running plugin before the thread goes to sleep. Waking it costs a call a system call, so it stays
/// awake between calls that follow one another closely.
const IDLE_TICKS: u32 = 20;

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// The ticking thread.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    join: Option<JoinHandle<()>>,
}

/// A plugin runs as long as this lives.
pub(super) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(super) fn start(engine: wasmtime::Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let inside = Arc::clone(&shared);
        let join = thread::Builder::new().name("rule-ticker".to_owned()).spawn(move || tick(&inside, &engine))?;
        Ok(Ticker { shared, thread: join.thread().clone(), join: Some(join) })
    }

    pub(super) fn running(&self) -> Running<'_> {
        // With `tick`: either it sees this count, or this sees that it sleeps. Both orders must be the same for all.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

fn tick(shared: &Shared, engine: &wasmtime::Engine) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        engine.increment_epoch();
        idle = if shared.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle > IDLE_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            while shared.running.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(join) = self.join.take() {
            // It cannot panic; and if it did, there is nothing left that needs it.
            drop(join.join());
        }
    }
}
