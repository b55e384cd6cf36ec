//! After a commit: whoever waits gets an answer, readers and metrics hear of it.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::{Work, Writer};
use crate::log::place::number;
use crate::log::progress::Progress;
use crate::log::queue::{Moved, Question, Revived};
use crate::log::space::NoRoom;
use crate::log::{LogError, Stored};
use std::sync::Arc;

impl Writer {
    /// Tells everybody what has been committed.
    pub(super) fn publish(&mut self, begun: Instant, work: Work, questions: Vec<Question>) {
        let Work {
            answers,
            events,
            register,
            states,
            revived,
            duplicates,
            refused,
            journal_lines,
            commands,
            origin,
            ..
        } = work;
        if let Some(origin) = origin {
            // From here on everybody reads anew what waited for the clock.
            self.dating.set(origin);
            self.tail.clear();
        }
        let own = events.iter().filter(|stored| !stored.is_salvaged());
        let seen = own.map(|stored| (stored.event.terminal.as_str(), stored.terminal_seq, stored.boot_ms));
        self.board.apply(seen, states, register, self.ledger.head);
        self.metrics.log_duplicates.inc_by(duplicates);
        self.metrics.log_refused.inc_by(refused);
        self.metrics.log_journal_lines.inc_by(journal_lines);
        self.announce(begun, events);
        self.answer(revived, questions);
        if commands {
            self.commands.send_modify(|count| *count = count.wrapping_add(1));
        }
        for (answer, outcome) in answers {
            // Whoever asked may have gone away; what was committed stays committed.
            let _ = answer.send(outcome);
        }
    }

    /// Answers about the progress as it is committed now. `revived` has an entry for each replay, in their order.
    pub(super) fn answer(&mut self, revived: Vec<Revived>, questions: Vec<Question>) {
        let mut revived = revived.into_iter();
        for question in questions {
            match question {
                Question::Follow(answer) => self.follow(self.progress.clone(), answer),
                Question::Replay(_, _, answer) => {
                    let ranges = revived.next().unwrap_or_default();
                    let count = ranges.iter().map(|(first, last)| last - first + 1).sum();
                    self.followers.retain(|follower| follower.send(Moved::Revived(ranges.clone())).is_ok());
                    let _ = answer.send(Ok(count));
                }
            }
        }
    }

    /// Answers about the progress as it is once there is room for it.
    pub(super) fn answer_without(&mut self, progress: &Progress, questions: Vec<Question>) {
        for question in questions {
            match question {
                Question::Follow(answer) => self.follow(progress.clone(), answer),
                Question::Replay(_, _, answer) => {
                    let _ = answer.send(Err(LogError::NoRoom(NoRoom::Full)));
                }
            }
        }
    }

    fn follow(&mut self, progress: Progress, answer: oneshot::Sender<(Progress, mpsc::UnboundedReceiver<Moved>)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.followers.retain(|follower| !follower.is_closed());
        if answer.send((progress, receiver)).is_ok() {
            self.followers.push(sender);
        }
    }

    /// Tells the readers and the metrics what has been committed.
    fn announce(&self, begun: Instant, events: Vec<Arc<Stored>>) {
        self.metrics.log_commits.inc();
        self.metrics.log_commit_seconds.observe(begun.elapsed().as_secs_f64());
        if events.is_empty() {
            return;
        }
        self.metrics.log_batch.observe(f64::from(u32::try_from(events.len()).unwrap_or(u32::MAX)));
        let mut counts = HashMap::new();
        for stored in &events {
            *counts.entry([stored.event.kind.family(), stored.event.severity.name()]).or_insert(0) += 1;
        }
        for (labels, count) in counts {
            self.metrics.events_appended.with_label_values(&labels).inc_by(count);
        }
        self.metrics.log_appended.set(number(self.ledger.head));
        self.tail.push(events.into_iter());
        self.head.send_replace(self.ledger.head);
    }
}
