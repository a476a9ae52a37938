/**
 * The tables of the PostgreSQL engine, all in a schema of their own. docs/spool.md explains them; a change raises VERSION and adds a
 * migration, which says whether programs that know only the format before can go on working with what it leaves.
 */

/** The number of this program's format. */
export const VERSION = 1;
/** The oldest format whose programs can work with tables that this one has made. */
export const OLDEST = 1;

export interface Migration {
  readonly sql: string;
  /** The oldest format whose programs can work with the tables afterwards. Below its own number: it only adds something. */
  readonly oldest: number;
}

/** From the version of that number to the next. */
export const MIGRATIONS: Readonly<Record<number, Migration>> = {};

/** A queue's rows are short-lived: what they leave is cleared away long before it is a fifth of the table, the default. */
const BUSY = `autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1`;

/** Of what changes by every order on the way. */
const TALLIES = `
CREATE FUNCTION item_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO smtp2exchange.tally (what, count) SELECT state, count(*) FROM added GROUP BY state;
  RETURN NULL;
END $$;
CREATE FUNCTION item_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO smtp2exchange.tally (what, count)
  SELECT state, sum(n) FROM (SELECT state, 1 AS n FROM added UNION ALL SELECT state, -1 FROM gone) AS both_of
  GROUP BY state HAVING sum(n) <> 0;
  RETURN NULL;
END $$;
CREATE FUNCTION item_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO smtp2exchange.tally (what, count) SELECT state, -count(*) FROM gone GROUP BY state;
  RETURN NULL;
END $$;
CREATE FUNCTION message_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO smtp2exchange.tally (what, count) SELECT 'bytes', sum(size) FROM added WHERE users > 0 HAVING sum(size) <> 0;
  RETURN NULL;
END $$;
CREATE FUNCTION message_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO smtp2exchange.tally (what, count)
  SELECT 'bytes', sum(n) FROM
    (SELECT size AS n FROM added WHERE users > 0 UNION ALL SELECT -size FROM gone WHERE users > 0) AS both_of
  HAVING sum(n) <> 0;
  RETURN NULL;
END $$;
CREATE FUNCTION message_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO smtp2exchange.tally (what, count) SELECT 'bytes', -sum(size) FROM gone WHERE users > 0 HAVING sum(size) <> 0;
  RETURN NULL;
END $$;
CREATE TRIGGER item_added AFTER INSERT ON item REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION item_added();
CREATE TRIGGER item_changed AFTER UPDATE ON item REFERENCING OLD TABLE AS gone NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION item_changed();
CREATE TRIGGER item_removed AFTER DELETE ON item REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION item_removed();
CREATE TRIGGER message_added AFTER INSERT ON message REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION message_added();
CREATE TRIGGER message_changed AFTER UPDATE ON message REFERENCING OLD TABLE AS gone NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION message_changed();
CREATE TRIGGER message_removed AFTER DELETE ON message REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION message_removed();
`;

/**
 * Text is compared by its octets (COLLATE "C"), as ids want it, whatever the database's own order is. Times are epoch
 * milliseconds of the server's clock.
 */
export const SCHEMA = `
-- One row: what has been made of this schema, the oldest program format that can work with it, and a name of the whole that
-- no other one has.
CREATE TABLE format (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL,
  oldest integer NOT NULL,
  name text NOT NULL DEFAULT gen_random_uuid()
);

-- Gateways at work; seen: when one last said so. format: the newest one that it knows.
CREATE TABLE member (
  id text COLLATE "C" PRIMARY KEY,
  host text NOT NULL,
  version text NOT NULL,
  format integer NOT NULL,
  started bigint NOT NULL,
  seen bigint NOT NULL,
  lease bigint NOT NULL
);

-- What one gateway at a time does.
CREATE TABLE duty (name text COLLATE "C" PRIMARY KEY, owner text COLLATE "C" NOT NULL, until bigint NOT NULL);

-- What gateways know together of a lane (route, line feed, mailbox) or a route; state NULL: nothing any more. writer: by
-- which change, so that one that is repeated finds itself.
CREATE TABLE known (
  subject text COLLATE "C" PRIMARY KEY,
  state text,
  version bigint NOT NULL DEFAULT 0,
  changed bigint NOT NULL DEFAULT 0,
  writer text COLLATE "C"
) WITH (fillfactor = 70, ${BUSY});
CREATE SEQUENCE known_version;

-- A message's body; users counts the items that still need it.
CREATE TABLE message (id text COLLATE "C" PRIMARY KEY, size bigint NOT NULL, users integer NOT NULL) WITH (${BUSY});
CREATE INDEX message_done ON message (id) WHERE users <= 0;

-- Its octets in order. Rows with a draft and without a message are of one that is being received.
CREATE TABLE chunk (message text COLLATE "C" NOT NULL, number integer NOT NULL, octets bytea NOT NULL, PRIMARY KEY (message, number))
  WITH (${BUSY}, toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_cost_delay = 1);
ALTER TABLE chunk ALTER COLUMN octets SET STORAGE EXTERNAL;

-- A message of more than one chunk that is being received, and by which gateway.
CREATE TABLE draft (id text COLLATE "C" PRIMARY KEY, owner text COLLATE "C" NOT NULL, begun bigint NOT NULL) WITH (${BUSY});
CREATE INDEX draft_owner ON draft (owner);

CREATE TABLE item (
  id text COLLATE "C" PRIMARY KEY,
  message text COLLATE "C" NOT NULL,
  lane text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  due bigint NOT NULL,
  arrived bigint NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  doubtful smallint NOT NULL DEFAULT 0,
  started bigint,
  -- while it is being sent: which gateway does, by which claim of it, and until when nobody else may take it over
  owner text COLLATE "C",
  ticket bigint,
  lease bigint,
  ended bigint,
  size bigint NOT NULL,
  header_size bigint NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  envelope text COLLATE "C" NOT NULL,
  origin text COLLATE "C" NOT NULL,
  status text COLLATE "C",
  -- 1: goes before those of its lane that have 0
  first smallint NOT NULL DEFAULT 0,
  -- since when it is parked
  parked bigint,
  -- of a notice: the bounced item that waits for it; NULL once it has ended
  tells text COLLATE "C"
) WITH (fillfactor = 85, ${BUSY});
CREATE INDEX item_due ON item (lane, first, due, id) WHERE state = 'queued';
CREATE INDEX item_state ON item (state, id, arrived);
CREATE INDEX item_parked ON item (parked, id, size) WHERE state = 'parked';
CREATE INDEX item_sending ON item (lane, owner) WHERE state = 'sending';
CREATE INDEX item_tells ON item (tells) WHERE tells IS NOT NULL;
CREATE INDEX item_untold ON item (id) WHERE state = 'bounced' AND ended IS NULL;
CREATE INDEX item_ended ON item (ended) WHERE ended IS NOT NULL;

CREATE TABLE history (
  number bigint GENERATED ALWAYS AS IDENTITY,
  item text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  what text COLLATE "C" NOT NULL,
  detail text COLLATE "C",
  status text COLLATE "C"
) WITH (${BUSY});
CREATE INDEX history_item ON history (item, number);

-- What was taken from a source, and (where it was) with which message; settled: since when it is gone from there.
CREATE TABLE receipt (
  source text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  settled bigint,
  message text COLLATE "C",
  PRIMARY KEY (source, key)
) WITH (${BUSY});
CREATE INDEX receipt_settled ON receipt (settled) WHERE settled IS NOT NULL;

-- How far a source has been read, in its own words.
CREATE TABLE cursor (source text COLLATE "C" PRIMARY KEY, state text COLLATE "C" NOT NULL, at bigint NOT NULL);

-- Counts that would otherwise need a walk through every row: what is counted is the sum of its rows. Each change adds one, so
-- that nobody waits for anybody; now and then one gateway folds them together.
CREATE TABLE tally (what text COLLATE "C" NOT NULL, count bigint NOT NULL) WITH (${BUSY});
${TALLIES}`;
