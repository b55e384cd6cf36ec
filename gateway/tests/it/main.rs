//! The gateway's parts against the real thing: real sockets, real SQLite, a real broker.

mod bad_input;
mod certificates;
mod dashboards;
mod demo;
mod fake_broker;
mod forward;
mod forwarding;
mod gateway;
mod hostile;
mod hostile_broker;
mod http;
mod many;
mod mosquitto;
mod outbox;
mod plugins;
mod proxy;
mod serial;
mod subscriber;
mod uplink;
