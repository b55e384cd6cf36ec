-- Events that the broker will never take as they are; each counts as dealt with until it is replayed.
CREATE TABLE dead_letter (
    seq    INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    at     TEXT NOT NULL -- when it was set aside, by the gateway's clock
) STRICT;

-- Critical events overtake a backlog. They are few, and their index grows in the order of its key.
CREATE INDEX event_critical ON event (seq) WHERE instr(json, '"severity":"critical"') > 0;
