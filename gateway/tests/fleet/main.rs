//! A fleet against real clustered brokers, and what its subscribers are told about it.
//!
//! Twenty gateways run as processes and publish to three brokers that are set up by the recipes of `docs/fleet`; one broker is
//! killed under load and comes back. The subscriber of `docs/subscriber.py` keeps what it hears, and nothing is missing.
//! The same subscriber is killed itself, again and again, in front of mosquitto. Every message of a gateway with terminals
//! of each protocol fits its schema. Commands go by way of each broker, to and from whom the certificates name.
//!
//! `VESTIBULE_FLEET_GATEWAYS` (20), `VESTIBULE_FLEET_EVENTS` (lines of each gateway, 200) and, for RabbitMQ alone, whose
//! nodes are heavy, `VESTIBULE_FLEET_RABBITMQ_GATEWAYS` (5) change the figures.

#![allow(clippy::unwrap_used, reason = "all of this is a test: what cannot be is a failure")]

mod broker;
mod capacity;
#[path = "../it/certificates.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod certificates;
mod client;
mod commands;
mod contract;
mod gateways;
mod load;
#[path = "../it/mosquitto.rs"]
#[expect(dead_code, reason = "shared with other tests, which use the rest of it")]
mod mosquitto;
#[path = "../branch/process.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod process;
mod python;
mod reader;
mod recipes;
mod sessions;
mod strangers;
mod survival;
mod vocabulary;
mod wire;

use std::net::Ipv4Addr;

use tokio::sync::Mutex;

/// One fleet at a time: each takes the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A loopback address of this test's own, so that every server has the port that its recipe says: nobody else's has the
/// number of this process in it.
fn host(n: u8) -> Ipv4Addr {
    let id = std::process::id();
    let digit = |number: u32| u8::try_from(number % 250).unwrap();
    Ipv4Addr::new(127, 1 + digit(id / 250), 1 + digit(id), n)
}

/// A figure that the environment may change.
fn figure(name: &str, usual: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => usual,
    }
}

/// Says something to whoever runs the test.
fn say(line: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
