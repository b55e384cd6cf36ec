//! What the writer asks of whoever knows the terminals' states.

use jiff::Timestamp;

use crate::event::Event;

/// The fold that the writer runs over each event before it is stored (`terminals` implements it): it knows the last
/// state of each terminal, marks events as raised or cleared, and turns readings into the transitions that follow from them.
pub trait Fold: Send {
    /// Takes the stored state of a terminal, at start.
    fn load(&mut self, terminal: &str, state: &str);
    /// Looks at `event`, may mark it, and pushes it to `out`; a reading that ends nothing is dropped.
    fn apply(&mut self, event: Event, reading: bool, out: &mut Vec<Event>);
    /// The clock is right, and the machine's boot of this name was at `origin`: dates what was dated by a clock that was wrong.
    fn date(&mut self, boot: &str, origin: Timestamp) {
        let _ = (boot, origin);
    }
    /// Hands over the states that changed since the last call, to be stored in the same transaction.
    fn changed(&mut self, store: &mut dyn FnMut(&str, String));
    /// Undoes every `apply` since the last [`Fold::keep`].
    fn undo(&mut self);
    /// Makes every `apply` so far permanent.
    fn keep(&mut self);
}
