/** What gateways on one database have in common, as src/mail/cluster.ts promises it. Rejects with SpoolError. */
import type { Cluster, ClusterListener, Json, Member, Subject } from '../mail/cluster.ts';
import type { StoreClock } from './postgres-clock.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import type { Known } from './postgres-known.ts';
import type { News } from './postgres-news.ts';

const HOLD = `INSERT INTO duty (name, owner, until) VALUES ($1, $2, $3)
  ON CONFLICT (name) DO UPDATE SET owner = $2,
    until = CASE WHEN duty.owner = $2 AND duty.until - $3 BETWEEN 1 AND 1200000 THEN duty.until ELSE $3 END
  WHERE duty.owner = $2 OR duty.until < $4 RETURNING name`;

const MEMBERS = `SELECT id, host, version, started, seen,
  (SELECT count(*) FROM item WHERE state = 'sending' AND item.owner = member.id) AS sending,
  ARRAY(SELECT name FROM duty WHERE duty.owner = member.id AND until >= $1 ORDER BY name) AS duties
  FROM member WHERE seen + lease >= $1 OR id = $2 ORDER BY host, started, id`;

export interface ClusterOptions {
  readonly id: string;
  readonly lease: number;
  readonly database: PostgresDatabase;
  readonly clock: StoreClock;
  readonly known: Known;
  readonly news: News;
}

export class PostgresCluster implements Cluster {
  readonly id: string;
  readonly lease: number;
  readonly #options: ClusterOptions;

  constructor(options: ClusterOptions) {
    this.id = options.id;
    this.lease = options.lease;
    this.#options = options;
  }

  now(): number {
    return this.#options.clock.now();
  }

  async members(): Promise<readonly Member[]> {
    const rows = await this.#options.database.rows(MEMBERS, this.now(), this.id);
    return rows.map((row) => ({
      id: String(row['id']),
      host: String(row['host']),
      version: String(row['version']),
      startedAt: Number(row['started']),
      seenAt: Number(row['seen']),
      sending: Number(row['sending']),
      duties: Array.isArray(row['duties']) ? row['duties'].map(String) : [],
    }));
  }

  async known(): Promise<readonly { readonly subject: Subject; readonly state: Json }[]> {
    return this.#options.known.all();
  }

  async change(subject: Subject, change: (state: Json | undefined) => Json | undefined): Promise<Json | undefined> {
    return this.#options.known.change(subject, change);
  }

  listen(listener: ClusterListener): () => void {
    return this.#options.news.listen(listener);
  }

  async hold(duty: string): Promise<boolean> {
    const now = this.now();
    return (await this.#options.database.row(HOLD, duty, this.id, now + this.lease, now)) !== undefined;
  }

  async leave(duty: string): Promise<void> {
    await this.#options.database.run('DELETE FROM duty WHERE name = $1 AND owner = $2', duty, this.id);
  }
}
