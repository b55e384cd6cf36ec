-- The register: regions, branches, groups, devices and terminals as they were uploaded, and terminals that were heard
-- without being configured. It is not rebuilt from the events, which do not hold it: it is durable itself, each row a
-- JSON object under its kind and its id, and bounded by a number of rows for each kind.
CREATE TABLE register (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
