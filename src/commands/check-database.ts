/**
 * The database that the mail is kept in: each of its servers is reached, logged in to and asked about itself; then whether
 * exactly one of them takes writes, and what is to be said of that one. Changes nothing. Never rejects for what it meets.
 */
import { spoolName } from '../assembly/spool.ts';
import type { StoreConfig } from '../config/config.ts';
import type { PostgresHost, PostgresUrl } from '../mail/postgres-url.ts';
import { readPostgresUrl } from '../mail/postgres-url.ts';
import { SpoolError } from '../mail/spool.ts';
import type { ServerSurvey } from '../spool/postgres-survey.ts';
import type { Walk } from './check-walk.ts';
import { judgedSession, judgedStore, judgedVersion } from './database-verdict.ts';
import type { Finding, Judged } from './finding.ts';

interface Asked {
  readonly at: string;
  readonly host: PostgresHost;
  readonly survey: ServerSurvey;
}

export async function* checkDatabase({ config, gateway, now }: Walk): AsyncGenerator<Finding> {
  const { store } = config.spool;
  if (store.kind !== 'postgres') return;
  const url = urlOf(store);
  // What is not used is not loaded.
  const { surveyServer } = await import('../spool/postgres-survey.ts');
  const tell = (judged: Judged, at: string): Finding => ({ what: 'database', at, ...judged });
  const found: Asked[] = [];
  for (const host of url.hosts) {
    const at = `${host.host.includes(':') ? `[${host.host}]` : host.host}:${host.port}`;
    try {
      const survey = await surveyServer(url, host, now);
      found.push({ at, host, survey });
      yield tell(judgedSession(url, host, survey), at);
      yield tell(judgedVersion(survey), at);
      if (!survey.takesWrites) yield tell({ mark: 'ok', says: 'takes no writes: a standby' }, at);
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      // One of several may be down.
      yield tell({ mark: url.hosts.length > 1 ? 'warn' : 'fail', says: error.message }, at);
    }
  }
  const writable = found.filter(({ survey }) => survey.takesWrites);
  const [primary] = writable;
  if (primary === undefined || writable.length > 1) {
    yield tell({ mark: 'fail', says: primary === undefined ? none(found, url) : several(writable) }, spoolName(store));
    return;
  }
  // Our own gateway has what it needs.
  const { connections } = primary.survey;
  const free = Math.min(connections.most, connections.free + (gateway === undefined ? 0 : store.connections));
  for (const judged of judgedStore({ ...primary.survey, connections: { ...connections, free } }, store.connections))
    yield tell(judged, primary.at);
}

function none(found: readonly Asked[], { hosts }: PostgresUrl): string {
  if (found.length === 0) return 'none of its servers can be used: the gateway would not start';
  return `${hosts.length === 1 ? 'its one server' : `none of its ${hosts.length} servers`} takes ${hosts.length === 1 ? 'no ' : ''}writes: the gateway would not start. Promote a standby, or name the primary in spool.postgres too`;
}

function several(writable: readonly Asked[]): string {
  return `${writable.map(({ at }) => at).join(' and ')} take writes at the same time, so that they cannot be copies of one database: mail would be split between them. Name the servers of one database in spool.postgres, and end the one that was the primary before`;
}

function urlOf(store: Extract<StoreConfig, { readonly kind: 'postgres' }>): PostgresUrl {
  const url = readPostgresUrl(store.url.reveal());
  if (!url.ok) throw new Error('a URL of a database that cannot be read passed its checks');
  return url.value;
}
