/**
 * What is wrong and what to do about it, the worst first: alarms that are raised, and what is wrong at this moment but
 * has not lasted long enough for one. Pure; never fails.
 */
import type { SpoolStats } from '../mail/spool.ts';
import type { AlarmState, BoardState } from './board.ts';

export interface Problem {
  readonly severity: 'critical' | 'warning';
  /** One line. */
  readonly title: string;
  /** Lines: what it means, what to do. */
  readonly text: string;
  readonly since?: number;
  /** Where to look, a path of the console. */
  readonly link?: { readonly to: string; readonly text: string };
}

const PARKED = { to: '/messages?state=parked', text: 'Look at them' };
const WAITING = { to: '/messages?state=queued', text: 'What waits' };
const PICKUPS = { to: '/pickups', text: 'Pickups' };

/** @param stats undefined: the store does not answer */
export function problemsOf(
  board: BoardState,
  stats: SpoolStats | undefined,
  reasons: readonly string[],
): readonly Problem[] {
  const alarms = [...board.alarms.values()];
  const found = [
    ...alarms.map((alarm) => ofAlarm(alarm, stats)),
    ...ofSpool(board, stats, alarms, reasons),
    ...ofRoutes(board, alarms),
    ...ofAccounts(board, alarms),
    ...ofPickups(board, alarms),
    ...ofCertificates(board),
    ...ofParked(stats, alarms),
  ];
  return [...found.filter(isCritical), ...found.filter((problem) => !isCritical(problem))];
}

function isCritical({ severity }: Problem): boolean {
  return severity === 'critical';
}

function ofAlarm({ reason, severity, title: then, text, since }: AlarmState, stats: SpoolStats | undefined): Problem {
  // The alarm was raised at the first of them, and is told anew after a while only.
  const title = reason === 'mailParked' && stats !== undefined ? parkedTitle(stats.items.parked) : then;
  const link =
    reason === 'mailParked'
      ? PARKED
      : reason === 'mailOld' || reason === 'routeHeld'
        ? WAITING
        : reason === 'pickupFailed' || reason === 'mailQuarantined'
          ? PICKUPS
          : undefined;
  return { severity, title, text, since, ...(link === undefined ? {} : { link }) };
}

function ofSpool(
  { spool, isStopping }: BoardState,
  stats: SpoolStats | undefined,
  alarms: readonly AlarmState[],
  reasons: readonly string[],
): readonly Problem[] {
  if (alarms.some(({ reason }) => reason === 'spoolTrouble' || reason === 'spoolFull')) return [];
  if (spool !== undefined)
    return [
      {
        severity: 'critical',
        title: `The store of the mail is in trouble (${spool.trouble})`,
        text: `${spool.detail}. New mail is refused with a temporary error; what was accepted stays where it is. Look at the disk: space, rights, df, mount, dmesg.`,
        since: spool.since,
      },
    ];
  if (stats === undefined)
    return [
      {
        severity: 'critical',
        title: 'The store of the mail does not answer',
        text: 'Figures and messages cannot be shown. The log lines spool.trouble say why; look at the disk.',
      },
    ];
  if (reasons.length === 0 || isStopping) return [];
  return [
    {
      severity: 'critical',
      title: 'New mail is not accepted at the moment',
      text: `${reasons.join('. ')}. Clients get a temporary error and try again, if they can.`,
    },
  ];
}

const OF_ROUTES: ReadonlySet<string> = new Set(['routeHeld', 'misconfigured', 'ewsClosed']);

function ofRoutes({ routes }: BoardState, alarms: readonly AlarmState[]): readonly Problem[] {
  return [...routes].flatMap(([name, { held }]) => {
    if (held === undefined) return [];
    const isTold = alarms.some(
      ({ reason, title, text }) => OF_ROUTES.has(reason) && names(`${title} ${text}`, `route ${name}`),
    );
    if (isTold) return [];
    return [
      {
        severity: 'critical' as const,
        title: `Nothing can be sent on route ${name} (${held.cause})`,
        text: `${held.reason}\nMail is accepted and kept. ${
          held.misconfigured
            ? 'A person has to mend this; the gateway tries again by itself.'
            : 'The gateway tries on, and goes on by itself.'
        }`,
        since: held.since,
        link: { to: `/messages?state=queued&route=${encodeURIComponent(name)}`, text: 'What waits' },
      },
    ];
  });
}

function ofAccounts({ accounts }: BoardState, alarms: readonly AlarmState[]): readonly Problem[] {
  return [...accounts].flatMap(([name, { failing, credentialFault }]) => {
    const isTold = alarms.some(({ reason, title }) => reason === 'credentials' && names(title, name));
    const found: Problem[] = [];
    if (failing !== undefined && !isTold)
      found.push({
        severity: 'critical',
        title: `The gateway gets no access token for ${name} (${failing.cause})`,
        text: failing.advice,
        since: failing.since,
      });
    if (credentialFault !== undefined)
      found.push({
        severity: 'warning',
        title: `The new credential of ${name} cannot be used; the one before stays in use`,
        text: credentialFault,
      });
    return found;
  });
}

function ofPickups({ pickups }: BoardState, alarms: readonly AlarmState[]): readonly Problem[] {
  return [...pickups].flatMap(([name, { failing, other }]): Problem[] => {
    const isTold = alarms.some(({ reason, title }) => reason === 'pickupFailed' && names(title, `Pickup ${name}`));
    if (failing !== undefined && !isTold)
      return [
        {
          severity: 'critical' as const,
          title: `Pickup ${name} cannot take mail from its mailbox (${failing.cause})`,
          text: `${failing.reason}\nIts mail stays in the mailbox, none is lost.`,
          since: failing.since,
          link: PICKUPS,
        },
      ];
    if (other === undefined) return [];
    return [
      {
        severity: 'warning' as const,
        title: `Pickup ${name} waits: another gateway picks up from its folder`,
        text: `${other} does. This one takes over when that one is silent.`,
        link: PICKUPS,
      },
    ];
  });
}

function ofCertificates({ listeners }: BoardState): readonly Problem[] {
  return [...listeners].flatMap(([name, { certificateFault }]) =>
    certificateFault === undefined
      ? []
      : [
          {
            severity: 'warning' as const,
            title: `The new certificate of ${name} cannot be used; the one before stays in use`,
            text: certificateFault,
          },
        ],
  );
}

function ofParked(stats: SpoolStats | undefined, alarms: readonly AlarmState[]): readonly Problem[] {
  const parked = stats?.items.parked ?? 0;
  if (parked === 0 || alarms.some(({ reason }) => reason === 'mailParked')) return [];
  return [
    {
      severity: 'warning',
      title: parkedTitle(parked),
      text: 'Each says why in its story. Retry them when the cause is mended, or drop them.',
      link: PARKED,
    },
  ];
}

function parkedTitle(parked: number): string {
  return parked === 1 ? '1 message is set aside, waiting for you' : `${parked} messages are set aside, waiting for you`;
}

/** As a word of its own: `exchange` is not in `exchange-2`. */
function names(text: string, name: string): boolean {
  const at = text.indexOf(name);
  return at >= 0 && !/^[\w-]/.test(text.slice(at + name.length));
}
