//! A terminal that speaks ISO 8583, as a tap on its line hears it: its requests, and its host's answers behind them.

mod voice;

pub use voice::Voice;
