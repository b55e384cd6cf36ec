//! Resetting a terminal: every service of it that has a reset is told to, and all their answers are one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::command::Order;
use crate::link::intake::Intake;
use crate::protocol::Protocol;
use crate::protocol::xfs4iot::{Outcome, told};

/// How long the answers may take before the line is free for the next command: nobody waits for them any more.
const LATE: Duration = Duration::from_secs(120);

/// A service's reset is wanted: where it says what became of it.
pub(super) type Wish = oneshot::Sender<Outcome>;

/// The services that can be reset now.
#[derive(Debug)]
pub(super) struct Board {
    places: Mutex<Vec<Place>>,
    some: watch::Sender<bool>,
}

#[derive(Clone, Debug)]
struct Place {
    service: String,
    wishes: mpsc::Sender<Wish>,
}

/// A service's place on the board; taken off when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    board: Arc<Board>,
    pub(super) wishes: mpsc::Receiver<Wish>,
}

impl Board {
    pub(super) fn new() -> Arc<Board> {
        Arc::new(Board { places: Mutex::default(), some: watch::Sender::new(false) })
    }

    /// A service of this name can be reset from now on.
    pub(super) fn sit(self: &Arc<Self>, service: &str) -> Seat {
        let (place, wishes) = mpsc::channel(1);
        self.places().push(Place { service: service.to_owned(), wishes: place });
        self.some.send_replace(true);
        Seat { board: Arc::clone(self), wishes }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all of them reset, and hands on what they say. One that goes away leaves it unknown.
    async fn reset(&self, order: Order) {
        let places = self.places().clone();
        let one = |place: Place| async move {
            let (wish, outcome) = oneshot::channel();
            let told = place.wishes.send(wish).await.is_ok();
            (place.service, if told { outcome.await.ok() } else { None })
        };
        let outcomes = timeout(LATE, join_all(places.into_iter().map(one))).await.unwrap_or_default();
        if let Some(told) = told(&outcomes).filter(|_| !outcomes.is_empty()) {
            // Whoever gave it up does not listen.
            let _ = order.told.send(told);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.wishes.close();
        let mut places = self.board.places();
        places.retain(|place| !place.wishes.is_closed());
        self.board.some.send_if_modified(|some| std::mem::replace(some, !places.is_empty()) == places.is_empty());
    }
}

/// Takes the terminal's commands while there is a service that can be reset. Never ends by itself.
pub(super) async fn serve(board: Arc<Board>, intake: Arc<Intake>) {
    let Some(terminal) = intake.expected().filter(|_| intake.commands) else { return };
    let mut some = board.some.subscribe();
    while some.wait_for(|some| *some).await.is_ok() {
        let mut line = intake.shared.lines.connect(&terminal.name, Protocol::Xfs4iot);
        loop {
            tokio::select! {
                Some(order) = line.orders.recv() => {
                    if !order.told.is_closed() {
                        line.set_busy(true);
                        board.reset(order).await;
                        line.set_busy(false);
                    }
                }
                () = async { drop(some.wait_for(|some| !*some).await) } => break,
            }
        }
    }
}
