//! The wasm engine that all plugins share.

use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config as WasmConfig, Engine as WasmEngine, OptLevel};

use super::contract::RulePlugin;
use super::host::Host;
use super::ticker::Ticker;

/// Stack of a plugin.
const STACK_BYTES: usize = 256 << 10;
/// Unmapped space behind a plugin's memory. Small, because a Raspberry Pi cannot reserve gigabytes for each.
const GUARD_BYTES: u64 = 64 << 10;
/// Longest that a batch may take, however long it is.
const LONGEST_DEADLINE: Duration = Duration::from_millis(50);
/// What each event of a batch adds to its deadline.
const DEADLINE_PER_EVENT: Duration = Duration::from_micros(100);

/// The engine, what it offers plugins, and their limits.
pub(super) struct Engine {
    pub(super) wasm: WasmEngine,
    pub(super) linker: Linker<Host>,
    pub(super) ticker: Ticker,
    pub(super) memory_bytes: usize,
    deadline: Duration,
}

/// Why the rules cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine does not work on this machine.
    #[error("the wasm engine cannot be made: {0}")]
    Wasm(String),
    /// There is no thread to be had.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Engine {
    pub(super) fn new(deadline: Duration, memory_bytes: usize) -> Result<Engine, EngineError> {
        let mut config = WasmConfig::new();
        config
            .epoch_interruption(true)
            // Without it a call costs 150 ns; with it, four times that.
            .concurrency_support(false)
            .memory_reservation(u64::try_from(memory_bytes).unwrap_or(u64::MAX))
            .memory_reservation_for_growth(0)
            .memory_guard_size(GUARD_BYTES)
            .max_wasm_stack(STACK_BYTES)
            .cranelift_opt_level(OptLevel::Speed)
            // Rules need none of these, and each is more compiler to trust.
            .wasm_relaxed_simd(false)
            .wasm_simd(false)
            .wasm_multi_memory(false)
            .wasm_memory64(false);
        let wasm = WasmEngine::new(&config).map_err(|error| EngineError::Wasm(format!("{error:#}")))?;
        let mut linker = Linker::new(&wasm);
        RulePlugin::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host)
            .map_err(|error| EngineError::Wasm(format!("{error:#}")))?;
        let ticker = Ticker::start(wasm.clone())?;
        Ok(Engine { wasm, linker, ticker, memory_bytes, deadline })
    }

    /// How long a batch of this many events may take.
    pub(super) fn deadline(&self, events: usize) -> Duration {
        let more = DEADLINE_PER_EVENT.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
        (self.deadline + more).min(LONGEST_DEADLINE.max(self.deadline))
    }
}
