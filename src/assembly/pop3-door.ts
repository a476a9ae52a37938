/** The door that POP3 clients fetch by, as the configuration has it. */
import type { Config } from '../config/config.ts';
import type { Report } from '../mail/event.ts';
import type { LaneKey } from '../mail/item.ts';
import type { Source } from '../mail/source.ts';
import type { Spool } from '../mail/spool.ts';
import type { Bouncer } from '../queue/bounce.ts';
import { itemDrop } from '../queue/maildrop.ts';
import type { CertificateSource } from '../smtp/certificate.ts';
import { loginGuard } from '../smtp/limits.ts';
import { passwordCheck } from '../smtp/password.ts';
import { certificateOf } from './front-door.ts';

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
}

/** Undefined: no pickup delivers so. @throws StartError for a certificate that cannot be used */
export async function pop3DoorOf(
  config: Config,
  { spool, bouncer, arrived, report }: Pop3Parts,
): Promise<{ readonly source: Source; readonly certificate?: CertificateSource } | undefined> {
  const { pop3, pickups, logins } = config;
  if (pop3 === undefined) return undefined;
  const { pop3Door } = await import('../legacy/pop3.ts');
  const users = pickups.flatMap(({ name, deliver }) => (deliver.kind === 'pop3' ? [{ ...deliver, route: name }] : []));
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
      logins: loginGuard(logins),
      inUse: new Set(),
      report,
    },
  );
  return { source, ...(certificate === undefined ? {} : { certificate }) };
}
