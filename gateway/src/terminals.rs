//! What is known of each terminal: its place in the configuration, and the state folded from its events.
//!
//! The state is a projection: the log's writer runs the [`TerminalFold`] over every event in the transaction that stores
//! it, so the two can never disagree.

mod condition;
mod config;
mod directory;
mod fold;
mod inventory;
mod state;

pub use config::Config;
pub use directory::{Directory, Entry, Known, Row};
pub use fold::TerminalFold;
pub use inventory::{Inventory, Terminal};
pub use state::{Condition, TerminalState};
