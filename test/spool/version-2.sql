-- A spool of version 2, as that version made it.
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
  status TEXT
) WITHOUT ROWID;
CREATE INDEX item_due ON item (lane, due, id) WHERE state = 'queued';
CREATE INDEX item_state ON item (state, arrived, id);
CREATE INDEX item_ended ON item (ended) WHERE ended IS NOT NULL;

CREATE TABLE history (item TEXT NOT NULL, at INTEGER NOT NULL, what TEXT NOT NULL, detail TEXT, status TEXT);
CREATE INDEX history_item ON history (item);

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
