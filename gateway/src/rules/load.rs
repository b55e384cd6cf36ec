//! From the bytes of a `.wasm` file to a plugin that can be put in force.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre};
use wasmtime::{Module, Store};
use wit_component::ComponentEncoder;

use super::contract::{RulePlugin, RulePluginPre};
use super::engine::Engine;
use super::host::Host;
use super::instance;
use super::plugin::{Plugin, sentence};
use super::state::State;
use super::subscription::Filter;

/// Largest file that is read.
pub(super) const FILE_BYTES: u64 = 32 << 20;
/// What every wasm file begins with, then what tells modules from components.
const MAGIC: &[u8] = b"\0asm";
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];
/// Bytes in front of the first section.
const HEADER: usize = 8;
/// The package of the contract; a plugin may import from it alone.
const PACKAGE: &str = "vestibule:rule/";
const VERSION: &str = "0.1.0";
/// Longest that a plugin may take to describe itself.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(1);
/// Longest name and version, and most subscriptions, kinds and families of a plugin.
const DESCRIPTOR_TEXT: usize = 128;
const DESCRIPTOR_ROWS: usize = 1024;

/// Why a file is no plugin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is something else.
    #[error("it is not WebAssembly: it begins with `{0}`; put the built .wasm file into the plugin folder")]
    NotWasm(String),
    /// It is too large.
    #[error("it has {0} bytes; at most {FILE_BYTES} are allowed")]
    TooLarge(u64),
    /// It wants something that rules do not get.
    #[error("it imports {0}, which rules do not get: they may import from {PACKAGE}host@{VERSION} alone")]
    Foreign(String),
    /// It does not offer what the contract asks for.
    #[error("it is WebAssembly, but no rule for the contract {PACKAGE}rule@{VERSION}: {0}")]
    NoRule(String),
    /// Its end is missing.
    #[error("it is cut off: its {0} bytes end in the middle; copy it again")]
    CutOff(usize),
    /// It is broken.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// It trapped before it had anything to do.
    #[error("it cannot describe itself: {0}")]
    Describe(String),
}

/// Loads a plugin: a core module with the contract's type in it, or a component.
pub(super) fn load(engine: &Engine, bytes: &[u8]) -> Result<Plugin, LoadError> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size > FILE_BYTES {
        return Err(LoadError::TooLarge(size));
    }
    let Some(layer) = bytes.strip_prefix(MAGIC) else {
        let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned();
        return Err(LoadError::NotWasm(beginning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()));
    };
    if !is_whole(&bytes[HEADER.min(bytes.len())..]) {
        return Err(LoadError::CutOff(bytes.len()));
    }
    // A bug of the compiler on strange bytes must not end the gateway.
    let work = AssertUnwindSafe(|| {
        let component = if layer.starts_with(COMPONENT) { bytes.to_vec() } else { componentize(engine, bytes)? };
        let component =
            Component::new(&engine.wasm, component).map_err(|error| LoadError::Compile(sentence(&error)))?;
        link(engine, &component)
    });
    let pre = catch_unwind(work).unwrap_or_else(|_| Err(LoadError::Compile("the compiler failed".to_owned())))?;
    describe(engine, pre, blake3::hash(bytes))
}

/// Whether the sections end where the bytes do: each is a number, its size in LEB128, and so many bytes (WebAssembly core
/// specification, 5.5.2; components have the same frame).
fn is_whole(mut sections: &[u8]) -> bool {
    while let Some((_, rest)) = sections.split_first() {
        let Some(last) = rest.iter().take(5).position(|byte| byte & 0x80 == 0) else { return false };
        let (size, content) = rest.split_at(last + 1);
        let size = size.iter().rev().fold(0_usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
        let Some(after) = content.get(size..) else { return false };
        sections = after;
    }
    true
}

fn componentize(engine: &Engine, module: &[u8]) -> Result<Vec<u8>, LoadError> {
    Module::validate(&engine.wasm, module).map_err(|error| LoadError::Compile(sentence(&error)))?;
    let encoded = ComponentEncoder::default().validate(true).module(module).and_then(|encoder| encoder.encode());
    encoded.map_err(|error| {
        // The encoder's own words are for people who build toolchains; the imports usually say it all.
        match Module::new(&engine.wasm, module) {
            Err(broken) => LoadError::Compile(sentence(&broken)),
            Ok(module) => match foreign(module.imports().map(|import| import.module())) {
                Some(names) => LoadError::Foreign(names),
                None => LoadError::NoRule(format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ")),
            },
        }
    })
}

/// The imports that rules do not get.
fn foreign<'a>(imports: impl Iterator<Item = &'a str>) -> Option<String> {
    let ours = |name: &str| name.starts_with(PACKAGE) && name.ends_with(&format!("@{VERSION}"));
    let mut names: Vec<_> = imports.filter(|name| !ours(name)).map(|name| format!("`{name}`")).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

fn link(engine: &Engine, component: &Component) -> Result<RulePluginPre<Host>, LoadError> {
    if let Some(names) = foreign(component.component_type().imports(&engine.wasm).map(|(name, _)| name)) {
        return Err(LoadError::Foreign(names));
    }
    let no_rule = |error: wasmtime::Error| LoadError::NoRule(sentence(&error));
    let pre: InstancePre<Host> = engine.linker.instantiate_pre(component).map_err(no_rule)?;
    RulePluginPre::new(pre).map_err(no_rule)
}

fn describe(engine: &Engine, pre: RulePluginPre<Host>, hash: blake3::Hash) -> Result<Plugin, LoadError> {
    let nothing: super::TerminalFlags = Arc::new(|_, _| false);
    let host = Host::new(Arc::from("new plugin"), State::default(), nothing, engine.memory_bytes);
    let mut store = instance::store(engine, host);
    instance::begin(&mut store, &[], DESCRIBE_DEADLINE);
    let said = {
        let _running = engine.ticker.running();
        ask(&pre, &mut store)
    };
    let said = said.map_err(|error| LoadError::Describe(instance::reason(&error, store.data(), DESCRIBE_DEADLINE)))?;
    let rows =
        |wanted: &super::contract::vestibule::rule::types::Subscription| wanted.kinds.len() + wanted.families.len();
    if said.name.len().max(said.version.len()) > DESCRIPTOR_TEXT
        || said.subscriptions.iter().map(rows).sum::<usize>() + said.subscriptions.len() > DESCRIPTOR_ROWS
    {
        return Err(LoadError::Describe("its name, version or subscriptions are too long".to_owned()));
    }
    Ok(Plugin { pre, name: said.name, version: said.version, filter: Filter::new(said.subscriptions), hash })
}

fn ask(
    pre: &RulePluginPre<Host>,
    store: &mut Store<Host>,
) -> wasmtime::Result<super::contract::vestibule::rule::types::Descriptor> {
    let plugin: RulePlugin = pre.instantiate(&mut *store)?;
    plugin.vestibule_rule_rule().call_describe(store)
}
