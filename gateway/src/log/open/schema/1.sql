-- The event store. Only `event` grows without bound, and only in the order of its key: no secondary index stands on it,
-- because maintaining one on a random key cuts the rate of batched inserts to a fifth.

CREATE TABLE store (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each boot of the machine that wrote here: monotonic times compare only within one.
CREATE TABLE boot (
    id   INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE event (
    seq          INTEGER PRIMARY KEY,
    terminal_seq INTEGER NOT NULL,
    boot         INTEGER NOT NULL,
    boot_ms      INTEGER NOT NULL, -- milliseconds since that boot
    json         TEXT    NOT NULL
) STRICT;

-- A projection of the events: rebuilt from them where it is lost, read at start, kept when events are pruned.
CREATE TABLE terminal (
    name         TEXT PRIMARY KEY,
    terminal_seq INTEGER NOT NULL,
    state        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The ids that sources gave their events, so that a re-send is not a second event.
CREATE TABLE source_id (
    terminal TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (terminal, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    consumer      TEXT PRIMARY KEY,
    floor         INTEGER NOT NULL,
    ranges        TEXT    NOT NULL, -- JSON: [[first,last],…]
    forwarded     INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    discarded     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin (
    id     TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin_state (
    plugin TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;
