/** The tables of the SQLite engine. docs/spool.md explains them; a change raises VERSION and adds a migration. */

export const VERSION = 5;

const INDEXES = `CREATE INDEX item_due ON item (lane, first, due, id) WHERE state = 'queued';
CREATE INDEX item_state ON item (state, id, arrived);
CREATE INDEX item_parked ON item (parked, id, size) WHERE state = 'parked';
`;

/** Of the items that have a notice under way, and of those notices: few, so that both are small. */
const LINKS = `CREATE INDEX item_tells ON item (tells) WHERE tells IS NOT NULL;
CREATE INDEX item_untold ON item (id) WHERE state = 'bounced' AND ended IS NULL;
`;

const RECEIPTS = `-- What was taken from a source; settled: since when it is gone from there, so that nobody asks for its receipt.
CREATE TABLE receipt (source TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, settled INTEGER, PRIMARY KEY (source, key)) WITHOUT ROWID;
CREATE INDEX receipt_settled ON receipt (settled) WHERE settled IS NOT NULL;

-- How far a source has been read, in its own words.
CREATE TABLE cursor (source TEXT PRIMARY KEY, state TEXT NOT NULL, at INTEGER NOT NULL);
`;

/** From the version of that number to the next. */
export const MIGRATIONS: Readonly<Record<number, string>> = {
  1: `INSERT INTO tally VALUES ('bounced', 0);`,
  2: `
ALTER TABLE item ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
ALTER TABLE item ADD COLUMN parked INTEGER;
UPDATE item SET parked = coalesce((SELECT max(at) FROM history WHERE history.item = item.id AND what = 'parked'), arrived) WHERE state = 'parked';
DROP INDEX item_due;
DROP INDEX item_state;
${INDEXES}`,
  // Bounced items of an older file have ended, and their bodies are gone: their notices tell of nothing that waits.
  3: `
ALTER TABLE item ADD COLUMN tells TEXT;
${LINKS}`,
  4: RECEIPTS,
};

export const SCHEMA = `
-- A message's body; users counts the items that still need it.
CREATE TABLE message (id TEXT PRIMARY KEY, size INTEGER NOT NULL, users INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX message_done ON message (id) WHERE users = 0;

-- Its octets in order. Rows without a message are what a draft that was never committed left behind.
CREATE TABLE chunk (message TEXT NOT NULL, number INTEGER NOT NULL, octets BLOB NOT NULL);
CREATE UNIQUE INDEX chunk_place ON chunk (message, number);

CREATE TABLE item (
  id TEXT PRIMARY KEY,
  message TEXT NOT NULL,
  lane TEXT NOT NULL,
  state TEXT NOT NULL,
  due INTEGER NOT NULL,
  arrived INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  doubtful INTEGER NOT NULL DEFAULT 0,
  started INTEGER,
  lease INTEGER,
  ended INTEGER,
  size INTEGER NOT NULL,
  header_size INTEGER NOT NULL,
  message_id TEXT NOT NULL,
  envelope TEXT NOT NULL,
  origin TEXT NOT NULL,
  status TEXT,
  -- 1: goes before those of its lane that have 0
  first INTEGER NOT NULL DEFAULT 0,
  -- since when it is parked
  parked INTEGER,
  -- of a notice: the bounced item that waits for it; NULL once it has ended
  tells TEXT
) WITHOUT ROWID;
${INDEXES}${LINKS}CREATE INDEX item_ended ON item (ended) WHERE ended IS NOT NULL;

CREATE TABLE history (item TEXT NOT NULL, at INTEGER NOT NULL, what TEXT NOT NULL, detail TEXT, status TEXT);
CREATE INDEX history_item ON history (item);

${RECEIPTS}
-- Counts that would otherwise need a walk through every row.
CREATE TABLE tally (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO tally VALUES ('queued', 0), ('sending', 0), ('parked', 0), ('relayed', 0), ('bounced', 0), ('dropped', 0), ('bytes', 0), ('probe', 0);
CREATE TRIGGER item_added AFTER INSERT ON item BEGIN
  UPDATE tally SET count = count + 1 WHERE what = new.state;
END;
CREATE TRIGGER item_moved AFTER UPDATE OF state ON item WHEN old.state <> new.state BEGIN
  UPDATE tally SET count = count - 1 WHERE what = old.state;
  UPDATE tally SET count = count + 1 WHERE what = new.state;
END;
CREATE TRIGGER item_removed AFTER DELETE ON item BEGIN
  UPDATE tally SET count = count - 1 WHERE what = old.state;
END;
CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
  UPDATE tally SET count = count + new.size WHERE what = 'bytes';
END;
CREATE TRIGGER message_removed AFTER DELETE ON message BEGIN
  UPDATE tally SET count = count - old.size WHERE what = 'bytes';
END;
`;
