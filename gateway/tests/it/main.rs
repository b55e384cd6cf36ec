//! The gateway's parts against the real thing: real sockets, real SQLite, a real broker.

mod dashboards;
mod fake_broker;
mod forward;
mod mosquitto;
mod proxy;
mod subscriber;
