-- Commands to terminals. Each change of one is written in the transaction of the event that tells of it, and only from the
-- state that it was in before: so nothing is sent twice, whatever dies when. The last ten thousand that ended are kept, so
-- that one that is asked for again is known.
CREATE TABLE command (
    number   INTEGER PRIMARY KEY, -- in the order in which they were taken
    source   TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    terminal TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    untold   INTEGER NOT NULL,    -- 1 where it has ended, and who asked has still to be told
    body     TEXT    NOT NULL,    -- the command as JSON
    UNIQUE (source, id)
) STRICT;

CREATE INDEX command_open ON command (number) WHERE state IN ('requested', 'sent');
CREATE INDEX command_untold ON command (number) WHERE untold = 1;
