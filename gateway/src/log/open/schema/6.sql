-- Events that were read while the clock was wrong are dated by the time that had passed since the machine's boot, once the
-- clock is right. The events themselves stay as they were written.

ALTER TABLE boot ADD COLUMN origin_ms INTEGER;                  -- when that boot was, since 1970, by a clock that is right
ALTER TABLE boot ADD COLUMN undated INTEGER NOT NULL DEFAULT 0; -- 1 where events wait for it

-- Lines of journals that came while the clock was wrong: their rows are mended once it is right. Those of a boot in which
-- it never was stay here, and no age takes them.
CREATE TABLE journal_undated (
    id      INTEGER PRIMARY KEY, -- of journal
    boot    INTEGER NOT NULL,
    boot_ms INTEGER NOT NULL,
    zone    TEXT                 -- the terminal's, where the day was told by the clock too
) STRICT;
