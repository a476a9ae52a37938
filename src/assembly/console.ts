/** The console as the configuration has it: its port, and its pages where somebody can log in. */
import type { Config } from '../config/config.ts';
import type { BoardState } from '../console/board.ts';
import { Meter, firstBoard, flowOf, nextBoard } from '../console/board.ts';
import { CONSOLE, createLogin } from '../console/login.ts';
import { lookNow } from '../console/look.ts';
import type { LookOptions } from '../console/look.ts';
import type { Operations } from '../console/operations.ts';
import type { Console, ConsoleOptions } from '../console/server.ts';
import { createConsole } from '../console/server.ts';
import { createSessions } from '../console/sessions.ts';
import { createWeb } from '../console/web.ts';
import type { LookedInto } from '../console/web.ts';
import type { Report } from '../mail/event.ts';
import type { SpoolStats } from '../mail/spool.ts';
import type { CertificateSource } from '../smtp/certificate.ts';
import type { LoginRules } from '../smtp/limits.ts';
import { passwordCheck } from '../smtp/password.ts';
import { certificateOf, followedGuard } from './front-door.ts';
import type { Reloaded } from './reload.ts';

/** Keeps what the overview shows, from the first event on. */
export interface Board {
  readonly report: Report;
  state(): BoardState;
  flow(now: number): ReturnType<Meter['read']>;
}

/**
 * @param credentials ends by account, epoch milliseconds
 * @param report told of a mistake of the board: it must not become one of whoever reports
 */
export function consoleBoard(config: Config, credentials: ReadonlyMap<string, number>, report: Report): Board {
  const beginning = {
    routes: config.routes.map(({ name }) => name),
    pickups: config.pickups.map(({ name }) => name),
    credentials,
  };
  let state = firstBoard(beginning, Date.now());
  const meter = new Meter(Date.now());
  return {
    report(event) {
      const now = Date.now();
      const flow = flowOf(event);
      if (flow !== undefined) meter.count(flow, now);
      try {
        state = nextBoard(state, event, now);
      } catch (cause) {
        const error = cause instanceof Error ? cause : new Error(String(cause));
        if (event.event !== 'bug') report({ event: 'bug', where: 'console', error });
      }
    },
    state: () => state,
    flow: (now) => meter.read(now),
  };
}

export interface ConsoleParts extends Pick<ConsoleOptions, 'metrics' | 'ready' | 'report' | 'version'> {
  readonly board: Board;
  readonly operations: Operations;
  readonly stats: () => Promise<SpoolStats>;
  /** Where mail can be moved to, pickups included. */
  readonly routes: () => readonly string[];
  readonly pickups: () => readonly string[];
  /** Limits of failed logins, as they are now. */
  readonly logins: () => LoginRules;
  /** The gateways on the spool; undefined: there is only this one. */
  readonly together: LookOptions['together'] | undefined;
  readonly lookInto: (pickup: string) => Promise<LookedInto>;
  /** Reads the configuration anew. @param by who asks for it */
  readonly reload: (by: string) => Promise<Reloaded>;
}

/** @throws StartError for a certificate that cannot be used */
export async function consoleOf(
  config: Config,
  { board, operations, stats, routes, pickups, logins, together, lookInto, reload, ...parts }: ConsoleParts,
): Promise<{ readonly web: Console; readonly certificate?: CertificateSource }> {
  const { address, port, users, token, hosts, idleTimeout, sessionTimeout, certificate: files } = config.console;
  const certificate =
    files === undefined
      ? undefined
      : await certificateOf(
          { name: CONSOLE, tls: 'implicit', minTls: '1.2', certificate: files },
          config,
          parts.report,
        );
  const { report, version, ready } = parts;
  const hasLogin = users.length > 0 || token !== undefined;
  const pages = hasLogin
    ? createWeb({
        login: createLogin({
          ...(users.length > 0 && {
            isPassword: passwordCheck(
              new Map(users.map(({ name, passwordHash }) => [name, passwordHash.reveal()])),
              Date.now,
            ),
          }),
          ...(token !== undefined && { token: token.reveal() }),
          guard: followedGuard(logins),
          report,
        }),
        sessions: createSessions({ idle: idleTimeout, lasts: sessionTimeout }),
        operations,
        look: () =>
          lookNow({
            board: board.state,
            flow: board.flow,
            stats,
            ready,
            now: Date.now,
            ...(together && { together }),
          }),
        get routes() {
          return routes();
        },
        get pickups() {
          return pickups();
        },
        lookInto,
        reload,
        hosts,
        gateway: config.hostname,
        version,
        startedAt: board.state().startedAt,
      })
    : undefined;
  const web = createConsole({
    address,
    port,
    ...parts,
    ...(pages && { pages }),
    ...(certificate && { certificate }),
  });
  return { web, ...(certificate && { certificate }) };
}
