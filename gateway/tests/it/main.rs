//! The gateway's parts against the real thing: real sockets, real SQLite, a real broker.

mod dashboards;
mod bad_input;
mod fake_broker;
mod forward;
mod gateway;
mod mosquitto;
mod proxy;
mod subscriber;
