-- The text that terminals' journals print, card data masked, kept for disputes.
--
-- Rows stand in the order of their arrival, so that retention takes them off the front. The one index grows in order
-- within each terminal and day: an insert touches one leaf for each terminal that prints now, never a random one, and a
-- search of one terminal's day reads that day and nothing else, however many years there are.

CREATE TABLE journal_terminal (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE journal (
    id          INTEGER PRIMARY KEY,
    terminal    INTEGER NOT NULL, -- of journal_terminal
    day         INTEGER NOT NULL, -- 20300115: the terminal's day on which it was printed, else received
    link        TEXT    NOT NULL,
    received_ms INTEGER NOT NULL, -- since 1970
    printed_at  TEXT,             -- the terminal's local time, as far as the journal tells it
    text        TEXT    NOT NULL
) STRICT;

CREATE INDEX journal_day ON journal (terminal, day);
