//! One happening is one event, though a journal often tells it twice: as a status line and in words.

/// Who told a happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teller {
    /// Printed words.
    Words,
    /// A status line.
    Status,
}

/// A happening of the dialect, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// Told once by either teller; the second teller only confirms it.
    Pair(usize),
    /// One event until it is cleared, however often it is told.
    Once(usize),
}

/// Status lines remembered at most in one attempt.
const STATUS_LINES: usize = 64;

/// What the current attempt has told already: a customer's session, or what happens between two of them.
#[derive(Debug)]
pub(super) struct Attempt {
    pairs: Vec<Option<Teller>>,
    once: Vec<bool>,
    status_lines: Vec<String>,
    /// A customer's session is open.
    pub(super) in_session: bool,
}

impl Attempt {
    /// Nothing told yet, of a dialect with so many happenings.
    pub(super) fn new(happenings: usize) -> Attempt {
        Attempt {
            pairs: vec![None; happenings],
            once: vec![false; happenings],
            status_lines: Vec::new(),
            in_session: false,
        }
    }

    /// A happening is told; true where it was told before and this is no event of its own.
    pub(super) fn tell(&mut self, happening: Happening, teller: Teller) -> bool {
        match happening {
            Happening::Once(number) => self.once.get_mut(number).is_some_and(|told| std::mem::replace(told, true)),
            Happening::Pair(number) => match self.pairs.get_mut(number) {
                Some(told) if told.is_some_and(|first| first != teller) => {
                    *told = None;
                    true
                }
                Some(told) => {
                    *told = Some(teller);
                    false
                }
                None => false,
            },
        }
    }

    /// These happenings are over.
    pub(super) fn clear(&mut self, happenings: &[usize]) {
        for &number in happenings {
            if let Some(told) = self.once.get_mut(number) {
                *told = false;
            }
            if let Some(told) = self.pairs.get_mut(number) {
                *told = None;
            }
        }
    }

    /// A status line is printed; true where the same line was printed in this attempt before.
    pub(super) fn repeats(&mut self, line: &str) -> bool {
        if self.status_lines.iter().any(|before| before == line) {
            return true;
        }
        if self.status_lines.len() < STATUS_LINES {
            self.status_lines.push(line.to_owned());
        }
        false
    }

    /// Something else begins: the same status line is a new happening from here on.
    pub(super) fn forget_status_lines(&mut self) {
        self.status_lines.clear();
    }

    /// A session begins.
    pub(super) fn session_starts(&mut self) {
        self.session_ends();
        self.pairs.fill(None);
        self.in_session = true;
    }

    /// A session ends. What is told in pairs may still get its second half.
    pub(super) fn session_ends(&mut self) {
        self.once.fill(false);
        self.status_lines.clear();
        self.in_session = false;
    }
}
