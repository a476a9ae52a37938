/** The door that POP3 clients fetch by, as the configuration has it. */
import { isSame } from '../config/changes.ts';
import type { Config } from '../config/config.ts';
import type { Cluster } from '../mail/cluster.ts';
import type { Report } from '../mail/event.ts';
import type { LaneKey } from '../mail/item.ts';
import type { Source } from '../mail/source.ts';
import type { Spool } from '../mail/spool.ts';
import type { Exclusive } from '../legacy/pop3-options.ts';
import type { Bouncer } from '../queue/bounce.ts';
import { itemDrop } from '../queue/maildrop.ts';
import type { CertificateSource } from '../smtp/certificate.ts';
import type { LoginGuard } from '../smtp/limits.ts';
import { passwordCheck } from '../smtp/password.ts';
import { certificateOf, followedGuard } from './front-door.ts';
import { takeDuty } from './held-duty.ts';
import type { Follow } from './step.ts';

/** Its name in events. */
const DOOR = 'pop3';
/** Refused commands in a row, after which a client is shown out. */
const MAX_ERRORS = 20;
/** Milliseconds from connection to login. */
const LOGIN_TIMEOUT = 60_000;

export interface Pop3Parts {
  readonly spool: Spool;
  readonly bouncer: Bouncer;
  readonly arrived: (lane: LaneKey) => void;
  readonly report: Report;
  /** Undefined: there is only this gateway. */
  readonly cluster?: Cluster | undefined;
}

export interface FollowingDoor {
  /** Looks at once whether the files of its certificate were replaced. */
  renew(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
  readonly follow: Follow;
}

/** Milliseconds that sessions have to end when the door is replaced. */
const GRACE = 1_000;

/** Opens it, if there is to be one. @throws StartError for a certificate, Error for a port; the message says what to do */
export async function openPop3Door(config: Config, parts: Pop3Parts): Promise<FollowingDoor> {
  let limits = config.logins;
  const logins = followedGuard(() => limits);
  const make = (next: Config): ReturnType<typeof pop3DoorOf> => pop3DoorOf(next, { ...parts, logins });
  let open = await make(config);
  try {
    await open?.source.start();
  } catch (error) {
    open?.certificate?.close();
    throw error;
  }

  const follow: Follow = async (next, before) => {
    const settle = (): void => void (limits = next.logins);
    if (isSame(basisOf(before), basisOf(next))) return { settle };
    const [last, fresh] = [open, await make(next)];
    let isTaken = false;
    return {
      async take() {
        isTaken = true;
        await last?.source.stop(AbortSignal.timeout(GRACE));
        await fresh?.source.start();
      },
      async back() {
        await fresh?.source.stop(AbortSignal.abort());
        fresh?.certificate?.close();
        if (!isTaken || last === undefined) return;
        last.certificate?.close();
        try {
          open = await make(before);
          await open?.source.start();
        } catch (error) {
          parts.report({ event: 'bug', where: 'POP3 door', error: error as Error });
        }
      },
      settle() {
        settle();
        last?.certificate?.close();
        open = fresh;
      },
    };
  };
  return {
    renew: async () => open?.certificate?.reload(),
    async stop(signal) {
      await open?.source.stop(signal);
      open?.certificate?.close();
    },
    follow,
  };
}

function basisOf({ pop3, pickups, hostname }: Config): unknown {
  return pop3 && { pop3, hostname, users: usersOf(pickups) };
}

function usersOf(pickups: Config['pickups']) {
  return pickups.flatMap(({ name, deliver }) => (deliver.kind === 'pop3' ? [{ ...deliver, route: name }] : []));
}

/** @param routes by user: a maildrop is what waits on a route */
function exclusionBy(cluster: Cluster, routes: ReadonlyMap<string, string>) {
  return (user: string): Promise<Exclusive | undefined> => takeDuty(cluster, `pop3 ${routes.get(user) ?? user}`);
}

/** Undefined: no pickup delivers so. @throws StartError for a certificate that cannot be used */
async function pop3DoorOf(
  config: Config,
  { spool, bouncer, arrived, report, cluster, logins }: Pop3Parts & { readonly logins: LoginGuard },
): Promise<{ readonly source: Source; readonly certificate?: CertificateSource } | undefined> {
  const { pop3, pickups } = config;
  if (pop3 === undefined) return undefined;
  const { pop3Door } = await import('../legacy/pop3.ts');
  const users = usersOf(pickups);
  const certificate = await certificateOf({ name: DOOR, ...pop3 }, config, report);
  const { certificate: _files, ...door } = pop3;
  const source = pop3Door(
    {
      name: DOOR,
      ...door,
      maxErrors: MAX_ERRORS,
      loginTimeout: LOGIN_TIMEOUT,
      ...(certificate === undefined ? {} : { certificate }),
    },
    {
      maildrops: new Map(
        users.map(({ user, route }) => [user, itemDrop({ spool, route, door: DOOR, report, bouncer, arrived })]),
      ),
      isPassword: passwordCheck(
        new Map(users.map(({ user, passwordHash }) => [user, passwordHash.reveal()])),
        Date.now,
      ),
      logins,
      inUse: new Set(),
      ...(cluster && { exclude: exclusionBy(cluster, new Map(users.map(({ user, route }) => [user, route]))) }),
      report,
    },
  );
  return { source, ...(certificate === undefined ? {} : { certificate }) };
}
