//! What a configuration needs of this machine: the one list that a start, a reload and `vestibule check` go by.
//!
//! | what | at a start | at a reload, where it is new or changed | `check` |
//! |---|---|---|---|
//! | tokens, certificate of HTTP, the wasm engine | no start | refused | a fault |
//! | files of the broker and of links, plugins, ports of links | the rest starts; who lacks it says so and tries again | refused | a fault |
//! | serial lines, chips of pins | the same | the same as at a start | a doubt |
//!
//! A reload has a configuration to stay with, a start has none: terminals must not stay unread for a broker's certificate.
//! What can be plugged in later is no fault.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::changes::{Changes, differ};
use crate::auth::Auth;
use crate::config::{Config, Fault, collide};
use crate::{api, forward, link, rules, terminals};

/// What a configuration needs, ready for use; of a changed one, as far as it changed.
pub(super) struct Ready {
    pub(super) auth: Option<Auth>,
    pub(super) tls: Option<api::Tls>,
    pub(super) rules: Option<rules::Ready>,
}

/// What is in the way of a configuration on this machine.
#[derive(Debug, Default)]
pub struct Survey {
    /// What keeps something of it from working.
    pub faults: Vec<Fault>,
    /// What may be as it should.
    pub doubts: Vec<Fault>,
}

/// What no gateway runs without, but for the rules' engine; or all of it that cannot be had.
pub(super) fn open(config: &Config) -> Result<(Auth, Option<api::Tls>), Vec<Fault>> {
    match (tokens(config), certificate(config)) {
        (Ok(auth), Ok(tls)) => Ok((auth, tls)),
        (auth, tls) => Err(auth.err().into_iter().chain(tls.err()).collect()),
    }
}

/// All that a changed configuration needs, beside the one that is in force; or all that is in its way. Reads files, compiles
/// plugins and tries ports.
pub(super) fn prepare(new: &Config, old: &Config, changes: Changes) -> Result<Ready, Vec<Fault>> {
    let auth = changes.auth.then(|| tokens(new)).transpose();
    let tls = if changes.serving() { certificate(new) } else { Ok(None) };
    let rules = changes.rules.then(|| rules(new)).transpose();
    let mut faults = files(new, Some(old), changes);
    faults.extend(new_ports(new, old).filter_map(|(path, at)| Some(fault(&path, barred(at)?.1))));
    match (auth, tls, rules) {
        (Ok(auth), Ok(tls), Ok(rules)) if faults.is_empty() => Ok(Ready { auth, tls, rules }),
        (auth, tls, rules) => {
            let first = auth.err().into_iter().chain(tls.err()).chain(rules.err().into_iter().flatten());
            Err(first.chain(faults).collect())
        }
    }
}

/// What is in the way of this configuration, of which a gateway may be running.
pub fn survey(config: &Config, runs: bool) -> Survey {
    let mut survey = Survey::default();
    survey.faults.extend(open(config).err().into_iter().flatten());
    survey.faults.extend(rules(config).err().into_iter().flatten());
    survey.faults.extend(files(config, None, Changes::ALL));
    for (path, at) in ports(config) {
        match barred(at) {
            Some((ErrorKind::AddrInUse, _)) if runs => {
                survey
                    .doubts
                    .push(fault(&path, format!("{at} is in use, by the gateway that runs on log.dir or another")));
            }
            Some((_, reason)) => survey.faults.push(fault(&path, reason)),
            None => {}
        }
    }
    survey.doubts.extend(absent(config));
    let exposed = config.forward.iter().flat_map(forward::Config::exposed);
    survey.doubts.extend(exposed.map(|(key, why)| fault(&format!("forward.{key}"), why)));
    survey
}

fn tokens(config: &Config) -> Result<Auth, Fault> {
    Auth::open(config.auth.clone()).map_err(|reason| fault("auth.tokens", reason.to_string()))
}

fn certificate(config: &Config) -> Result<Option<api::Tls>, Fault> {
    config.http.tls.clone().map(api::Tls::open).transpose().map_err(|reason| fault("http.tls", reason))
}

/// The rules, with every plugin of the folder tried.
fn rules(config: &Config) -> Result<rules::Ready, Vec<Fault>> {
    let ready = rules::Ready::new(config.rules.clone()).map_err(|error| vec![fault("rules", error.to_string())])?;
    let faults: Vec<Fault> = ready.unloadable().into_iter().map(|reason| fault("rules.dir", reason)).collect();
    if faults.is_empty() { Ok(ready) } else { Err(faults) }
}

/// What is wrong with the files of the broker and of the links.
fn files(new: &Config, old: Option<&Config>, changes: Changes) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(forward) = new.forward.as_ref().filter(|_| changes.forward || changes.commands) {
        faults.extend(forward.unreadable().into_iter().map(|(key, reason)| fault(&format!("forward.{key}"), reason)));
    }
    let devices = |config: &Config| config.gateway.devices.clone();
    let old = old.filter(|old| devices(old) == devices(new));
    for (nth, terminal) in new.terminal.iter().enumerate() {
        let before = old.and_then(|old| old.terminal.iter().find(|before| before.name == terminal.name));
        let before = before.filter(|before| !differ(&bare(before), &bare(terminal)));
        for (at, link) in terminal.link.iter().enumerate() {
            if !before.is_some_and(|before| before.link.contains(link)) {
                let path = format!("terminal[{nth}].link[{at}].tls");
                faults.extend(link.file_faults().into_iter().map(|reason| fault(&path, reason)));
            }
        }
    }
    for (nth, listener) in new.listener.iter().enumerate() {
        if !old.is_some_and(|old| old.listener.contains(listener)) {
            let path = format!("listener[{nth}].tls");
            faults.extend(listener.file_faults().into_iter().map(|reason| fault(&path, reason)));
        }
    }
    faults
}

/// A terminal without its links.
fn bare(terminal: &terminals::Config) -> terminals::Config {
    terminals::Config { link: Vec::new(), ..terminal.clone() }
}

/// What is listened at, with the key of each.
fn ports(config: &Config) -> impl Iterator<Item = (String, SocketAddr)> {
    std::iter::once(("http.listen".to_owned(), config.http.listen)).chain(link_ports(config))
}

fn link_ports(config: &Config) -> impl Iterator<Item = (String, SocketAddr)> {
    let own = config.terminal.iter().enumerate().flat_map(|(nth, terminal)| {
        let links = terminal.link.iter().enumerate();
        links.filter_map(move |(at, link)| Some((format!("terminal[{nth}].link[{at}].listen"), link.listen?)))
    });
    let listeners = config.listener.iter().enumerate();
    own.chain(
        listeners.map(|(nth, listener): (usize, &link::ListenerConfig)| {
            (format!("listener[{nth}].listen"), listener.listen)
        }),
    )
}

/// Those of links that are not in the way of the gateway itself: its own it gives up before it opens others.
fn new_ports(new: &Config, old: &Config) -> impl Iterator<Item = (String, SocketAddr)> {
    let ours: Vec<SocketAddr> = ports(old).map(|(_, at)| at).collect();
    link_ports(new).filter(move |(_, at)| !ours.iter().any(|ours| collide(*ours, *at)))
}

/// Why nobody can listen here now.
fn barred(address: SocketAddr) -> Option<(ErrorKind, String)> {
    let error = TcpListener::bind(address).err()?;
    Some((error.kind(), format!("cannot listen on {address}: {error}")))
}

/// What may yet be plugged in.
fn absent(config: &Config) -> Vec<Fault> {
    let mut doubts = Vec::new();
    for (nth, terminal) in config.terminal.iter().enumerate() {
        let lines = terminal.link.iter().enumerate();
        let lines = lines.filter_map(|(at, link)| Some((format!("link[{at}].serial"), link.serial.as_ref()?)));
        let chip = terminal.restart.as_ref().and_then(|restart| restart.gpio.as_ref());
        let chip = chip.map(|gpio| ("restart.gpio.chip".to_owned(), &gpio.chip));
        let gone = lines.chain(chip).filter(|(_, path)| !path.exists());
        doubts.extend(gone.map(|(key, path)| {
            fault(&format!("terminal[{nth}].{key}"), format!("{} is not there (yet)", path.display()))
        }));
    }
    doubts
}

pub(super) fn fault(path: &str, reason: String) -> Fault {
    Fault { path: path.to_owned(), reason }
}
