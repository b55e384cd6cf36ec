//! Handing a command to whatever can carry it out, and what comes back.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Ask, Refusal};

/// A command for a conversation that is open.
#[derive(Debug)]
pub struct Order {
    /// What is asked.
    pub ask: Ask,
    /// The message, without framing.
    pub message: Vec<u8>,
    /// Where the answer goes. Dropped without one, nobody knows what became of it.
    pub told: oneshot::Sender<Told>,
}

/// What was said to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It was carried out; with what was asked for, if anything.
    Done(Option<Value>),
    /// It was not.
    Refused(Refusal),
}

/// A way for one command.
#[derive(Debug)]
pub enum Way {
    /// There is none, and there will be none.
    Never(Refusal),
    /// There is none now.
    Later,
    /// This one.
    Now(Hand),
}

/// An open conversation that has kept a place for one command.
#[derive(Debug)]
pub struct Hand {
    /// The place.
    pub place: mpsc::OwnedPermit<Order>,
    /// What is asked.
    pub ask: Ask,
    /// The message, without framing.
    pub message: Vec<u8>,
}

impl Hand {
    /// Hands the command over. Where the answer's sender goes away, it is lost, on the wire or before.
    pub fn over(self) -> oneshot::Receiver<Told> {
        let (told, answer) = oneshot::channel();
        self.place.send(Order { ask: self.ask, message: self.message, told });
        answer
    }
}

/// What carries commands to terminals.
pub trait Ways: Send + Sync {
    /// Whether there is such a terminal.
    fn knows(&self, terminal: &str) -> bool;
    /// The way to this terminal for this; `number` tells its commands apart, and wraps.
    fn way(&self, terminal: &str, ask: Ask, number: u32) -> Way;
    /// Changes whenever a way may have opened.
    fn changes(&self) -> watch::Receiver<u64>;
}
