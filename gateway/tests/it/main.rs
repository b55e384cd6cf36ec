//! The gateway's parts against the real thing: real sockets, real SQLite, a real broker.

mod auth;
mod authority;
mod bad_input;
mod commands;
mod dashboards;
mod demo;
mod fake_broker;
mod forward;
mod gateway;
mod http;
mod https;
mod journal;
mod many;
mod mosquitto;
mod plugins;
mod proxy;
mod serial;
mod subscriber;
mod terminals;
mod tls;
mod triton;
mod upload;
mod xfs4iot;
