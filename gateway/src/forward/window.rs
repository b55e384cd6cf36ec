//! Which message is in flight under which packet id. Pure bookkeeping: no clock, no I/O.
//!
//! Ids go round through all that there are. So an acknowledgement that comes twice, or late, finds nothing: its id is used
//! again only after 65,534 others, and never while it is in flight.

use std::collections::BTreeMap;
use std::time::Instant;

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The gateway's own health.
    Health,
    /// The event at this place in the log.
    Event(u64),
    /// The events at these places, in one message.
    Batch(Vec<u64>),
    /// A terminal's state; one at a time.
    State,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// What it is.
    pub(super) message: Message,
    /// When it was handed to the client.
    pub(super) at: Instant,
}

/// The messages of one connection that are not acknowledged yet.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    /// Most messages of any kind, which the broker alone decides.
    most: usize,
    flying: BTreeMap<u16, Sent>,
    /// Whether a state is among them: it takes no place of an event.
    aside: bool,
    last_id: u16,
}

impl Window {
    /// A window for at most `limit` messages and a state beside them, of which the broker takes at most `most` at once.
    pub(super) fn new(limit: u16, most: u16) -> Self {
        let (limit, most) = (usize::from(limit.max(1)), usize::from(most.max(1)));
        Window { limit, most, flying: BTreeMap::new(), aside: false, last_id: 0 }
    }

    /// Lets at most this many messages be in flight from now on.
    pub(super) fn set_limit(&mut self, limit: u16) {
        self.limit = usize::from(limit.max(1));
    }

    /// Whether one more message may be sent, with `held` others waiting outside the window.
    pub(super) fn has_room(&self, held: usize) -> bool {
        self.in_flight() - usize::from(self.aside) + held < self.limit && self.in_flight() < self.most
    }

    /// Whether a state may be sent.
    pub(super) fn has_room_aside(&self) -> bool {
        !self.aside && self.in_flight() < self.most
    }

    /// Messages that are not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// The packet id for a message that is sent now. There are more ids than a window has places.
    pub(super) fn send(&mut self, message: Message, at: Instant) -> u16 {
        self.aside |= message == Message::State;
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.flying.contains_key(&self.last_id) {
                self.flying.insert(self.last_id, Sent { message, at });
                return self.last_id;
            }
        }
    }

    /// The broker answered this id; `None` where no message in flight has it.
    pub(super) fn answered(&mut self, id: u16) -> Option<Sent> {
        let sent = self.flying.remove(&id)?;
        self.aside &= sent.message != Message::State;
        Some(sent)
    }

    /// The messages that are not acknowledged.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.flying.values().map(|sent| &sent.message)
    }

    /// Since when the oldest message waits for its answer.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.flying.values().map(|sent| sent.at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn acknowledgements_find_their_events_in_any_order_and_once() {
        let start = Instant::now();
        for reversed in [false, true] {
            let mut window = Window::new(4, u16::MAX);
            let mut ids = Vec::new();
            for seq in 101..=104 {
                assert!(window.has_room(0));
                ids.push((window.send(Message::Event(seq), start + Duration::from_secs(seq)), seq));
            }
            assert!(!window.has_room(0));
            assert_eq!((window.in_flight(), window.oldest()), (4, Some(start + Duration::from_secs(101))));
            if reversed {
                ids.reverse();
            }
            for (id, seq) in ids {
                assert_eq!(window.answered(id).map(|sent| sent.message), Some(Message::Event(seq)));
                assert_eq!(window.answered(id), None, "a second time");
            }
            assert_eq!((window.in_flight(), window.oldest()), (0, None));
        }
        assert_eq!(Window::new(4, u16::MAX).answered(0), None);
    }

    #[test]
    fn a_state_goes_beside_the_events_and_takes_none_of_their_places() {
        let now = Instant::now();
        let mut window = Window::new(2, 4);
        let first = window.send(Message::Event(1), now);
        window.send(Message::Event(2), now);
        assert!(!window.has_room(0) && window.has_room_aside());
        let state = window.send(Message::State, now);
        assert!(!window.has_room_aside(), "one at a time");
        window.answered(first).expect("in flight");
        assert!(window.has_room(0), "an event's place is free although the state is under way");
        assert_eq!(window.answered(state).map(|sent| sent.message), Some(Message::State));
        assert!(window.has_room_aside() && window.has_room(0) && !window.has_room(1));
    }

    #[test]
    fn a_broker_that_takes_few_has_them_all_counted() {
        let now = Instant::now();
        let mut window = Window::new(2, 2);
        let event = window.send(Message::Event(1), now);
        assert!(window.has_room(0) && window.has_room_aside());
        window.send(Message::State, now);
        assert!(!window.has_room(0) && !window.has_room_aside(), "no more than the broker takes");
        window.answered(event).expect("in flight");
        assert!(window.has_room(0) && !window.has_room_aside());
    }

    #[test]
    fn an_id_comes_round_late_and_never_while_it_is_in_flight() {
        let mut window = Window::new(2, u16::MAX);
        let held = window.send(Message::Event(0), Instant::now());
        let mut last = None;
        for seq in 1..140_000 {
            let id = window.send(Message::Event(seq), Instant::now());
            assert!(id != 0 && id != held && Some(id) != last, "{id}");
            assert!(window.answered(id).is_some());
            last = Some(id);
        }
        assert_eq!(window.answered(held).map(|sent| sent.message), Some(Message::Event(0)));
    }

    #[test]
    fn the_limit_can_shrink_and_grow() {
        let mut window = Window::new(8, u16::MAX);
        let ids: Vec<u16> = (0..8).map(|seq| window.send(Message::Event(seq), Instant::now())).collect();
        window.set_limit(2);
        for id in ids {
            assert!(!window.has_room(0) || window.in_flight() < 2);
            window.answered(id);
        }
        assert!(window.has_room(1) && !window.has_room(2));
        window.set_limit(0);
        assert!(window.has_room(0), "one message is always let through");
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
        let mut window = Window::new(64, u16::MAX);
        let (mut seq, mut flying) = (0_u64, BTreeMap::new());
        for _ in 0..200_000 {
            if next(2) == 0 && window.has_room(0) {
                seq += 1;
                assert_eq!(flying.insert(window.send(Message::Event(seq), Instant::now()), seq), None);
            } else if let Some((&id, &seq)) = flying.iter().nth(next(flying.len().max(1))) {
                flying.remove(&id);
                assert_eq!(window.answered(id).map(|sent| sent.message), Some(Message::Event(seq)));
            }
            assert_eq!(window.in_flight(), flying.len());
        }
        assert!(seq > 65_536, "every id was used");
    }
}
