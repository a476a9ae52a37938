/** What a PostgreSQL server tells of itself means for the mail that is to be kept there. Pure; never fails. */
import type { PostgresHost, PostgresUrl } from '../mail/postgres-url.ts';
import { isSocket } from '../mail/postgres-url.ts';
import type { ServerSurvey } from '../spool/postgres-survey.ts';
import { KNOWN_FORMAT } from '../spool/postgres-survey.ts';
import type { Judged } from './finding.ts';

const TESTED = [15, 18];
/** Milliseconds. */
const CLOCKS_APART = 5_000;

/** Of each server, whether it takes writes or not. */
export function judgedSession(url: PostgresUrl, host: PostgresHost, { isEncrypted }: ServerSurvey): Judged {
  const login = `reached, and logged in as ${url.user}`;
  if (isSocket(host) || /^(?:localhost|127\..*|::1)$/i.test(host.host))
    return { mark: 'ok', says: `${login}${isEncrypted ? ', with TLS' : ', on this machine'}` };
  if (!isEncrypted)
    return {
      mark: 'warn',
      says: `${login}, without TLS: mail and what logs in cross the network readable (sslmode=${url.sslMode}). Set up TLS on the server, and sslmode=verify-full in spool.postgres`,
    };
  if (url.sslMode !== 'verify-full' && url.sslMode !== 'verify-ca')
    return {
      mark: 'warn',
      says: `${login}, with TLS, but sslmode=${url.sslMode} verifies nobody: another server in its place would get the mail. Set sslmode=verify-full in spool.postgres, with sslrootcert if its authority is one of your own`,
    };
  return { mark: 'ok', says: `${login}, with TLS, and its certificate is trusted` };
}

export function judgedVersion({ version }: ServerSurvey): Judged {
  const [major, minor] = [Math.floor(version / 10_000), version % 10_000];
  const name = `PostgreSQL ${major}.${minor}`;
  return { mark: 'ok', says: `${name}${TESTED.includes(major) ? '' : ` (tested are ${TESTED.join(' and ')})`}` };
}

/** Of the one that takes writes, in the order in which they matter. */
export function judgedStore(survey: ServerSurvey, needed: number): readonly Judged[] {
  return [
    judgedTables(survey),
    ...judgedDurability(survey.settings),
    judgedStandby(survey.settings),
    judgedConnections(survey.connections, needed),
    judgedClock(survey),
  ].filter((judged) => judged !== undefined);
}

function judgedTables({ tables }: ServerSurvey): Judged {
  switch (tables.kind) {
    case 'absent':
      return tables.mayBeMade
        ? { mark: 'ok', says: 'no tables yet; the first gateway makes them when it starts' }
        : {
            mark: 'fail',
            says: 'there are no tables yet, and this login may not make them: GRANT CREATE ON DATABASE ... TO ... (for the first start)',
          };
    case 'closed':
      return {
        mark: 'fail',
        says: `the schema smtp2exchange belongs to ${tables.owner}, and this login may not use it: log in as ${tables.owner} in spool.postgres, or make the login a member of that role`,
      };
    case 'there':
      return judgedFormat(tables);
  }
}

function judgedFormat({
  format,
  oldest,
  mayBeChanged,
}: Extract<ServerSurvey['tables'], { readonly kind: 'there' }>): Judged {
  if (format > KNOWN_FORMAT)
    return oldest <= KNOWN_FORMAT
      ? { mark: 'ok', says: `of format ${format}, which this version (${KNOWN_FORMAT}) can work with` }
      : {
          mark: 'fail',
          says: `a newer version of this program has brought it up (format ${format}, this one knows ${KNOWN_FORMAT}): install that version here too`,
        };
  if (format === KNOWN_FORMAT) return { mark: 'ok', says: `of format ${format}` };
  return mayBeChanged
    ? { mark: 'ok', says: `of format ${format}; the gateway brings it up to ${KNOWN_FORMAT} when it starts` }
    : {
        mark: 'fail',
        says: `of format ${format}, and this login may not bring it up to ${KNOWN_FORMAT}: log in as the owner of the schema smtp2exchange`,
      };
}

function judgedDurability({
  fsync,
  fullPageWrites,
  synchronousCommit,
}: ServerSurvey['settings']): readonly (Judged | undefined)[] {
  return [
    fsync === 'on'
      ? { mark: 'ok', says: 'what is committed is on its disk' }
      : {
          mark: 'fail',
          says: 'fsync is off: when its machine fails, mail that was accepted is lost, and the database may be damaged. Set fsync = on in postgresql.conf',
        },
    fullPageWrites === 'on'
      ? undefined
      : {
          mark: 'warn',
          says: 'full_page_writes is off: unless its file system never tears a page (ZFS), the database may be damaged when its machine fails. Set full_page_writes = on in postgresql.conf',
        },
    synchronousCommit === 'off'
      ? { mark: 'ok', says: 'synchronous_commit is off, which the gateway overrides for what it writes' }
      : undefined,
  ];
}

function judgedStandby({ standbyNames, synchronousCommit }: ServerSurvey['settings']): Judged {
  if (standbyNames !== '' && ['local', 'remote_write'].includes(synchronousCommit))
    return {
      mark: 'warn',
      says: `synchronous_commit is ${synchronousCommit}: a commit does not wait for the disk of a standby (synchronous_standby_names), and a fail-over can lose mail that was accepted in the last moments. Set synchronous_commit = on for the server, this role or this database`,
    };
  if (standbyNames !== '')
    return { mark: 'ok', says: 'a commit waits for a standby: a fail-over loses nothing (synchronous_standby_names)' };
  return {
    mark: 'warn',
    says: 'no standby is waited for: where another server takes over (fail-over), mail that was accepted in the last moments can be lost, unless both share a disk that is copied in step. Set synchronous_standby_names on the server, with two standbys or more',
  };
}

function judgedConnections({ most, free }: ServerSurvey['connections'], needed: number): Judged {
  const figures = `${free} of ${most} connections are free, and this gateway takes ${needed} (spool.connections)`;
  if (most < needed)
    return {
      mark: 'fail',
      says: `${figures}: raise max_connections of the server, or the CONNECTION LIMIT of the role or the database, or lower spool.connections`,
    };
  if (free < needed)
    return {
      mark: 'warn',
      says: `${figures}: some of it would have to wait. If other gateways have the rest, raise max_connections of the server; or lower spool.connections`,
    };
  return { mark: 'ok', says: figures };
}

function judgedClock({ ahead, precision }: ServerSurvey): Judged {
  const apart = Math.max(0, Math.abs(ahead) - precision);
  if (apart < CLOCKS_APART) return { mark: 'ok', says: 'its clock and the one of this machine agree' };
  const seconds = Math.round(Math.abs(ahead) / 1000);
  return {
    mark: 'warn',
    says: `its clock is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} the one of this machine. The queue goes by that of the database, the log by this one: have both set by NTP`,
  };
}
