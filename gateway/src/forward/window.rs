//! Which message is in flight under which packet id. Pure bookkeeping: no clock, no I/O.
//!
//! The client library returns no packet id from a publish: it says `Outgoing::Publish(id)` later, in the order in which
//! messages were handed to it. So messages wait in a queue until their id is known, and in a table by id until the
//! broker acknowledges them.

use std::collections::VecDeque;
use std::time::Instant;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The gateway's own health.
    Health,
    /// The event at this place in the log.
    Event(u64),
    /// A terminal's state; one at a time.
    State,
}

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// What it is.
    pub(super) message: Message,
    /// When it was handed to the client.
    pub(super) at: Instant,
}

/// The client library did what we cannot account for; the connection must be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet id {0} belongs to no message of ours")]
pub(super) struct OutOfStep(pub(super) u16);

/// The messages of one connection that are not acknowledged yet.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    /// Handed to the client, packet id not known yet.
    queued: VecDeque<Sent>,
    /// By packet id; the first place is never used.
    slots: Vec<Option<Sent>>,
    taken: usize,
    /// Whether a state is among them: it takes no place of an event.
    aside: bool,
    /// The id that the client will give to the next message.
    next_id: usize,
}

impl Window {
    /// A window for at most `limit` messages, over packet ids from 1 to `ids`.
    pub(super) fn new(limit: u16, ids: u16) -> Self {
        let ids = usize::from(ids.max(1));
        Window {
            limit: usize::from(limit.max(1)).min(ids),
            queued: VecDeque::with_capacity(usize::from(limit)),
            slots: vec![None; ids + 1],
            taken: 0,
            aside: false,
            next_id: 1,
        }
    }

    /// Lets at most this many messages be in flight from now on.
    pub(super) fn set_limit(&mut self, limit: u16) {
        self.limit = usize::from(limit.max(1)).min(self.slots.len() - 1);
    }

    /// Whether one more message may be handed to the client, with `held` others waiting outside the window.
    ///
    /// Ids go round. A broker that acknowledges out of order may hold back the one whose turn it is; the client library
    /// would then stash the message and stand still, so none is handed to it.
    pub(super) fn has_room(&self, held: usize) -> bool {
        self.in_flight() - usize::from(self.aside) + held < self.limit && self.next_is_free()
    }

    /// Whether a state may be handed to the client.
    pub(super) fn has_room_aside(&self) -> bool {
        !self.aside && self.in_flight() + 1 < self.slots.len() && self.next_is_free()
    }

    fn next_is_free(&self) -> bool {
        self.slots.get(self.next_id).is_some_and(Option::is_none)
    }

    /// Messages that are not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.taken + self.queued.len()
    }

    /// A message was handed to the client.
    pub(super) fn queue(&mut self, message: Message, at: Instant) {
        self.queued.push_back(Sent { message, at });
        self.aside |= message == Message::State;
        self.next_id = if self.next_id + 1 < self.slots.len() { self.next_id + 1 } else { 1 };
    }

    /// The client wrote the oldest queued message under this id.
    ///
    /// # Errors
    /// Where no message is queued or the id is in use.
    pub(super) fn written(&mut self, id: u16) -> Result<(), OutOfStep> {
        let slot = self.slots.get_mut(usize::from(id)).filter(|slot| slot.is_none()).ok_or(OutOfStep(id))?;
        *slot = Some(self.queued.pop_front().ok_or(OutOfStep(id))?);
        self.taken += 1;
        Ok(())
    }

    /// The broker answered this id.
    ///
    /// # Errors
    /// Where no message has this id.
    pub(super) fn answered(&mut self, id: u16) -> Result<Sent, OutOfStep> {
        let sent = self.slots.get_mut(usize::from(id)).and_then(Option::take).ok_or(OutOfStep(id))?;
        self.taken -= 1;
        self.aside &= sent.message != Message::State;
        Ok(sent)
    }

    /// Since when the oldest message waits for its answer.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.iter().flatten().chain(self.queued.front()).map(|sent| sent.at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn event(sent: Sent) -> u64 {
        match sent.message {
            Message::Event(seq) => seq,
            Message::Health | Message::State => panic!("events alone"),
        }
    }

    #[test]
    fn acknowledgements_find_their_events_in_any_order() {
        let start = Instant::now();
        for reversed in [false, true] {
            let mut window = Window::new(4, 16);
            for seq in 101..=104 {
                assert!(window.has_room(0));
                window.queue(Message::Event(seq), start + Duration::from_secs(seq));
            }
            assert!(!window.has_room(0), "the limit holds for queued messages too");
            for id in 1..=4 {
                window.written(id).expect("four are queued");
            }
            assert_eq!(window.in_flight(), 4);
            assert_eq!(window.oldest(), Some(start + Duration::from_secs(101)));
            let mut ids: Vec<u16> = (1..=4).collect();
            if reversed {
                ids.reverse();
            }
            for id in ids {
                assert_eq!(event(window.answered(id).expect("in flight")), 100 + u64::from(id));
            }
            assert_eq!((window.in_flight(), window.oldest()), (0, None));
        }
    }

    #[test]
    fn unknown_and_repeated_ids_are_out_of_step() {
        let mut window = Window::new(4, 16);
        assert_eq!(window.written(1), Err(OutOfStep(1)), "nothing is queued");
        window.queue(Message::Health, Instant::now());
        window.queue(Message::Event(1), Instant::now());
        for id in [0, 17, 60_000] {
            assert_eq!(window.answered(id), Err(OutOfStep(id)));
        }
        assert_eq!(window.written(17), Err(OutOfStep(17)), "no such id");
        window.written(1).expect("two are queued");
        assert_eq!(window.written(1), Err(OutOfStep(1)), "in use");
        assert_eq!(window.answered(1).map(|sent| sent.message), Ok(Message::Health));
        assert_eq!(window.answered(1), Err(OutOfStep(1)), "a second time");
        assert_eq!(window.in_flight(), 1, "what failed changed nothing");
    }

    #[test]
    fn a_state_goes_beside_the_events_and_takes_none_of_their_places() {
        let mut window = Window::new(2, 4);
        for seq in 1..=2 {
            window.queue(Message::Event(seq), Instant::now());
        }
        assert!(!window.has_room(0) && window.has_room_aside());
        window.queue(Message::State, Instant::now());
        assert!(!window.has_room_aside(), "one at a time");
        for id in 1..=3 {
            window.written(id).expect("queued");
        }
        window.answered(1).expect("in flight");
        assert!(window.has_room(0), "an event's place is free although the state is under way");
        assert_eq!(window.answered(3).map(|sent| sent.message), Ok(Message::State));
        assert!(window.has_room_aside() && window.has_room(0) && !window.has_room(1));
    }

    #[test]
    fn an_id_that_is_held_back_is_never_used_twice() {
        // As many messages as ids: what a broker with a small receive maximum leaves us.
        let mut window = Window::new(4, 4);
        for seq in 1..=4 {
            window.queue(Message::Event(seq), Instant::now());
            window.written(u16::try_from(seq).expect("small")).expect("queued");
        }
        for id in 2..=4 {
            window.answered(id).expect("in flight");
        }
        assert!(!window.has_room(0), "id 1 is next and not free");
        window.answered(1).expect("in flight");
        assert!(window.has_room(0) && window.has_room(3) && !window.has_room(4));
    }

    #[test]
    fn the_limit_can_shrink_and_grow_but_not_past_the_ids() {
        let mut window = Window::new(300, 8);
        let mut count = 0;
        while window.has_room(0) {
            window.queue(Message::Event(count), Instant::now());
            count += 1;
        }
        assert_eq!(count, 8);
        window.set_limit(2);
        for id in 1..=8 {
            window.written(id).expect("queued");
            window.answered(id).expect("in flight");
        }
        assert!(window.has_room(1) && !window.has_room(2));
        window.set_limit(0);
        assert!(window.has_room(0), "one message is always let through");
        window.set_limit(u16::MAX);
        assert!(window.has_room(7) && !window.has_room(8));
    }

    #[test]
    fn a_random_broker_never_makes_it_lose_or_mix_messages() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % 1_000_003).expect("small") % below
        };
        for ids in [1_u16, 2, 7, 32] {
            let mut window = Window::new(8, ids);
            let (mut seq, mut last_id) = (0_u64, 0_u16);
            let mut queued = VecDeque::new();
            let mut flying = BTreeMap::new();
            for _ in 0..20_000 {
                match next(3) {
                    0 if window.has_room(0) => {
                        seq += 1;
                        window.queue(Message::Event(seq), Instant::now());
                        queued.push_back(seq);
                    }
                    1 => {
                        if let Some(seq) = queued.pop_front() {
                            // The client library's own way of numbering.
                            last_id = if last_id == ids { 1 } else { last_id + 1 };
                            window.written(last_id).expect("the id is free and a message is queued");
                            flying.insert(last_id, seq);
                        }
                    }
                    _ => {
                        if let Some((&id, &seq)) = flying.iter().nth(next(flying.len().max(1))) {
                            flying.remove(&id);
                            assert_eq!(event(window.answered(id).expect("in flight")), seq);
                        }
                    }
                }
                assert_eq!(window.in_flight(), queued.len() + flying.len());
            }
            assert!(seq > 1_000, "it kept going");
        }
    }
}
