/**
 * What gateways know together of lanes and routes: a row each, changed while it is locked. A change that is made twice
 * because its answer was lost finds itself. Rejects with PostgresError, and what a change throws.
 */
import type { Common, Json, Subject } from '../mail/cluster.ts';
import type { LaneKey } from '../mail/item.ts';
import type { Connection } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { laneName } from './protocol.ts';

export interface KnownOptions {
  readonly database: PostgresDatabase;
  /** This gateway. */
  readonly owner: string;
  readonly now: () => number;
  /** Others have to be told of it. */
  readonly onChanged: (subject: string) => void;
}

export interface KnownRow {
  readonly subject: string;
  readonly state: Json | undefined;
  readonly version: number;
  /** By this gateway. */
  readonly isOurs: boolean;
}

const LOCK = 'SELECT state FROM known WHERE subject = $1 FOR UPDATE';
/** In the order in which they are locked, so that nobody waits for each other. */
const MAKE = `INSERT INTO known (subject) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING`;
const KEEP = `INSERT INTO known (subject, state, changed, writer, version) VALUES ($1, $2, $3, $4, nextval('known_version'))
  ON CONFLICT (subject) DO UPDATE SET state = excluded.state, changed = excluded.changed, writer = excluded.writer, version = excluded.version`;

export function subjectName({ route, mailbox }: Subject): string {
  return mailbox === undefined ? route : laneName({ route, mailbox });
}

export function subjectOf(name: string): Subject {
  const at = name.indexOf('\n');
  return at < 0 ? { route: name } : { route: name.slice(0, at), mailbox: name.slice(at + 1) };
}

export class Known {
  readonly #options: KnownOptions;
  #changes = 0;

  constructor(options: KnownOptions) {
    this.#options = options;
  }

  /**
   * In a transaction: of a lane and its route, until its end. Asks everything at once. A route of which nothing is known is
   * not locked, so that its lanes do not wait for each other: what begins to hold it at this very moment meets attempts that
   * are under way in any case.
   */
  async lock(link: Connection, lane: LaneKey): Promise<Common> {
    const name = laneName(lane);
    const [, ofLane, route, sending] = await Promise.all([
      link.run(MAKE, [name]),
      link.row(LOCK, name),
      link.row('SELECT state FROM known WHERE subject = $1', lane.route),
      // A statement after those that wait sees what they have waited for.
      link.row(`SELECT count(*) AS count FROM item WHERE state = 'sending' AND lane = $1`, name),
    ]);
    const isKnown = typeof route?.['state'] === 'string';
    const ofRoute = isKnown ? await link.row(LOCK, lane.route) : {};
    // Somebody has just tidied away what held nothing.
    if (ofLane === undefined || ofRoute === undefined) throw link.undone('what was to be locked was removed');
    return {
      ...stateIn('lane', ofLane['state']),
      ...stateIn('route', ofRoute['state']),
      sending: Number(sending?.['count'] ?? 0),
    };
  }

  /**
   * @param before what lock() gave: what is still the same is not written again
   * @returns what changes, for told() when the transaction is through, and the writes on their way
   */
  keep(
    link: Connection,
    lane: LaneKey,
    after: Pick<Common, 'lane' | 'route'>,
    before: Common,
  ): { readonly changed: readonly string[]; readonly writes: readonly Promise<void>[] } {
    const changes: readonly (readonly [string, Json | undefined])[] = [
      ...(isSame(after.lane, before.lane) ? [] : [[laneName(lane), after.lane] as const]),
      ...(isSame(after.route, before.route) ? [] : [[lane.route, after.route] as const]),
    ];
    const writes = changes.map(([subject, state]) => this.#keep(link, subject, state, this.#options.owner));
    return { changed: changes.map(([subject]) => subject), writes };
  }

  told(subjects: readonly string[]): void {
    for (const subject of subjects) this.#options.onChanged(subject);
  }

  async #keep(link: Connection, subject: string, state: Json | undefined, writer: string): Promise<void> {
    const written = state === undefined ? null : JSON.stringify(state);
    await link.run(KEEP, subject, written, this.#options.now(), writer);
  }

  async change(subject: Subject, change: (state: Json | undefined) => Json | undefined): Promise<Json | undefined> {
    const name = subjectName(subject);
    const writer = `${this.#options.owner}/${++this.#changes}`;
    let isChanged = false;
    const after = await this.#options.database.transaction(async (link, isRepeated) => {
      const [, row] = await Promise.all([
        link.run(MAKE, [name]),
        link.row('SELECT state, writer FROM known WHERE subject = $1 FOR UPDATE', name),
      ]);
      if (row === undefined) throw link.undone('what was to be locked was removed');
      const state = parsed(row['state']);
      isChanged = isRepeated && row['writer'] === writer;
      if (isChanged) return state;
      const changed = change(state);
      isChanged = !isSame(changed, state);
      if (isChanged) await this.#keep(link, name, changed, writer);
      return changed;
    });
    if (isChanged) this.told([name]);
    return after;
  }

  /** What was changed at this time or later. */
  async since(link: Connection, time: number): Promise<readonly KnownRow[]> {
    const { owner } = this.#options;
    const rows = await link.rows('SELECT subject, state, version, writer FROM known WHERE changed >= $1', time);
    return rows.map(({ subject, state, version, writer }) => ({
      subject: String(subject),
      state: parsed(state),
      version: Number(version),
      isOurs: typeof writer === 'string' && (writer === owner || writer.startsWith(`${owner}/`)),
    }));
  }

  async all(): Promise<readonly { readonly subject: Subject; readonly state: Json }[]> {
    const rows = await this.#options.database.rows('SELECT subject, state FROM known WHERE state IS NOT NULL');
    return rows.flatMap(({ subject, state }) => {
      const known = parsed(state);
      return known === undefined ? [] : [{ subject: subjectOf(String(subject)), state: known }];
    });
  }
}

function parsed(state: unknown): Json | undefined {
  return typeof state === 'string' ? (JSON.parse(state) as Json) : undefined;
}

function stateIn<Name extends 'lane' | 'route'>(name: Name, state: unknown): { readonly [Key in Name]?: Json } {
  const known = parsed(state);
  return known === undefined ? {} : ({ [name]: known } as { readonly [Key in Name]: Json });
}

function isSame(one: Json | undefined, other: Json | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
