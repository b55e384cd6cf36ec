//! A terminal whose agent uploads files of JSON tables: one for everything that happens.

mod voice;

pub use voice::Voice;
