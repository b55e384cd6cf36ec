//! The gateway's parts against the real thing: real sockets, real SQLite, a real broker.

mod bad_input;
mod dashboards;
mod demo;
mod fake_broker;
mod forward;
mod gateway;
mod http;
mod mosquitto;
mod proxy;
mod subscriber;
mod terminals;
mod upload;
