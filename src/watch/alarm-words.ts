/**
 * The sentences of alarms, for the person who must act: what happened, since when, what to do. Pure; never fails. What
 * comes from a server in them is made harmless where the notice is made (alarm-notice.ts).
 */
import type { AlarmReason, AlarmSeverity } from '../mail/alarm.ts';
import { count, duration } from './amounts.ts';

export interface Words {
  readonly reason: AlarmReason;
  readonly severity: AlarmSeverity;
  /** One line. */
  readonly title: string;
  /** Lines. */
  readonly text: readonly string[];
}

const KEPT = 'Mail is accepted and kept, none is returned for this.';
const PICKED_UP = 'Mail is picked up and kept, none is returned for this.';

export interface HeldRoute {
  readonly route: string;
  readonly cause: string;
  readonly reason: string;
  readonly since: number;
}

export function routeHeld({ route, cause, reason, since }: HeldRoute): Words {
  return {
    reason: 'routeHeld',
    severity: 'critical',
    title: `Nothing can be sent on route ${route} (${cause})`,
    text: [
      `Exchange, or the way to it, has been out of order since ${moment(since)}. ${KEPT}`,
      reason,
      "Look at Microsoft's service health, your proxy, DNS and firewall. The gateway tries on, and goes on by itself; watch the disk while it lasts.",
    ],
  };
}

/** Of a pickup: what is out of order is the legacy system. */
export function handOverHeld({ route, cause, reason, since }: HeldRoute): Words {
  return {
    reason: 'routeHeld',
    severity: 'critical',
    title: `Nothing can be handed over by pickup ${route} (${cause})`,
    text: [
      `The system that it hands mail to, or the way to it, has been out of order since ${moment(since)}. ${PICKED_UP}`,
      reason,
      'Look at that system, and at the network between. The gateway tries on, and goes on by itself; watch the disk while it lasts.',
    ],
  };
}

export function handOverMisconfigured({ route, cause, reason, since }: HeldRoute): Words {
  return {
    reason: 'misconfigured',
    severity: 'critical',
    title: `Pickup ${route} cannot hand over (${cause}): a person has to mend it`,
    text: [`Nothing is handed over by it since ${moment(since)}. ${PICKED_UP}`, reason, TRIES],
  };
}

export function misconfigured({ route, cause, reason, since }: HeldRoute): Words {
  return {
    reason: 'misconfigured',
    severity: 'critical',
    title: `Exchange refuses the gateway (${cause}): a person has to mend it`,
    text: [`Nothing is sent on route ${route} since ${moment(since)}. ${KEPT}`, reason, TRIES],
  };
}

export function routeMissing({ route, reason, since }: HeldRoute): Words {
  return {
    reason: 'misconfigured',
    severity: 'critical',
    title: `Mail waits for route ${route}, which the configuration does not have`,
    text: [`Nothing is sent on it since ${moment(since)}; the other routes go on. ${KEPT}`, reason],
  };
}

export function ewsClosed({ route, cause, reason, since }: HeldRoute): Words {
  return {
    reason: 'ewsClosed',
    severity: 'critical',
    title: `Exchange has closed EWS to this gateway (${cause})`,
    text: [`Nothing is sent on route ${route} since ${moment(since)}. ${KEPT}`, reason, TRIES],
  };
}

const TRIES =
  'The gateway tries again by itself, at most half an hour apart, and sends what waits once it works; a restart makes it try at once.';

export function mailboxMisconfigured(about: HeldRoute & { readonly mailbox: string }): Words {
  return {
    reason: 'mailboxMisconfigured',
    severity: 'critical',
    title: `Exchange refuses to send as ${about.mailbox} (${about.cause}): a person has to mend it`,
    text: [`Its mail waits since ${moment(about.since)}; other mailboxes go on. ${KEPT}`, about.reason],
  };
}

/** Of those that have no alarm of their own. */
export function moreMailboxesMisconfigured(all: readonly (HeldRoute & { readonly mailbox: string })[]): Words {
  const [first] = all;
  return {
    reason: 'mailboxMisconfigured',
    severity: 'critical',
    title: `Exchange refuses to send as ${all.length} more of the mailboxes: a person has to mend it`,
    text: [
      `So many at once have one cause, most likely: a scope or a group that no longer holds them. Their mail waits; others go on. ${KEPT}`,
      ...(first === undefined ? [] : [`One of them is ${first.mailbox} (${first.cause}).`, first.reason]),
      'The log lines delivery.delayed with code 4.3.5 name each of them.',
    ],
  };
}

export interface RefusedAccount {
  readonly account: string;
  readonly cause: string;
  readonly advice: string;
  readonly validUntil?: number;
  readonly since: number;
}

export function credentials({ account, cause, advice, validUntil, since }: RefusedAccount): Words {
  const effect =
    validUntil === undefined
      ? 'Nothing can be sent.'
      : `Sending goes on until the present token ends at ${moment(validUntil)}.`;
  return {
    reason: 'credentials',
    severity: 'critical',
    title: `The gateway gets no access token for ${account} (${cause})`,
    text: [`Every request has failed since ${moment(since)}. ${effect} ${KEPT}`, advice],
  };
}

/** The credential of the app registration. */
export function credentialExpiring(
  account: string,
  kind: 'secret' | 'certificate',
  expiresAt: number,
  now: number,
): Words {
  const of = account === FIRST ? '' : ` of route ${account}`;
  const what = `${kind === 'secret' ? 'client secret' : 'certificate of the app registration'}${of}`;
  const after = 'After that no access token is given, and nothing can be sent.';
  const todo =
    kind === 'secret'
      ? `Make a new secret in the app registration (Certificates & secrets), put its Value into the configuration (${setting(account, 'clientSecret')}) and its end into ${setting(account, 'expires')}, and start the gateway anew. The old one stays good meanwhile.`
      : `Make a new certificate, upload it to the app registration (Certificates & secrets), put its files in the place of those of ${setting(account, 'certificate')}, and send SIGHUP or start the gateway anew. The old one stays good meanwhile.`;
  return {
    reason: kind === 'secret' ? 'secretExpiring' : 'appCertificateExpiring',
    severity: expiresAt > now ? 'warning' : 'critical',
    title: `The ${what} ${ends(expiresAt, now)}`,
    text: [
      `It ${ends(expiresAt, now)}${kind === 'secret' ? ` by ${setting(account, 'expires')}` : ''}. ${after}`,
      todo,
    ],
  };
}

export function certificateExpiring(listener: string, subject: string, expiresAt: number, now: number): Words {
  return {
    reason: 'certificateExpiring',
    severity: expiresAt > now ? 'warning' : 'critical',
    title: `The certificate of listener ${listener} ${ends(expiresAt, now)}`,
    text: [
      listener === 'console'
        ? `It is for ${subject}. Browsers and Prometheus refuse the console after that; mail is not concerned.`
        : `It is for ${subject}. Clients that check certificates cannot hand in mail after that; many devices do not check.`,
      `Renew the files of ${listener === 'console' ? 'console' : 'listeners[]'}.certificate. The gateway takes them within seconds, without a restart; a log line certificate.failed says if it cannot.`,
    ],
  };
}

export function mailOld(oldest: number, waiting: number, limit: number): Words {
  return {
    reason: 'mailOld',
    severity: 'warning',
    title: `Mail waits for longer than ${duration(limit / 1000)}`,
    text: [
      `The oldest message that still has to be sent came in at ${moment(oldest)}; ${count(waiting, 'message')} in all.`,
      'If a route, a mailbox or the access token is in trouble, another alarm says so. Otherwise more comes in than goes out, or single messages are delayed again and again: cause and reason in the log lines delivery.delayed say why.',
    ],
  };
}

export function changedOver(route: string, cause: string, since: number): Words {
  return {
    reason: 'changedOver',
    severity: 'warning',
    title: 'Mail goes out by Microsoft Graph from now on, not by EWS',
    text: [
      `Exchange has closed EWS to this gateway (${cause}) at ${moment(since)}; route ${route} has changed over and goes on. Nothing was lost, nothing has to be done at once.`,
      `If EWS was closed by mistake: open it to the application again, and set ${setting(route, 'returnToEws')} or delete ${route}.transport.json beside the spool; then start the gateway anew. Else set ${setting(route, 'transport')} to graph and forget it.`,
      'The differences in what arrives are in docs/transports.md.',
    ],
  };
}

export interface LastParked {
  readonly why: string;
  readonly cause: string;
  readonly reason?: string;
}

export function mailParked(parked: number, last: LastParked | undefined): Words {
  return {
    reason: 'mailParked',
    severity: 'warning',
    title: `${count(parked, 'message')} set aside, waiting for an operator`,
    text: [
      'Given up where no sender could be told or it is not for the gateway to decide, or held by queue hold. It is kept until somebody acts, at most for spool.parkedRetention and within spool.parkedSize.',
      ...(last === undefined
        ? []
        : [`The latest: ${last.why} (${last.cause}).${last.reason === undefined ? '' : ` ${last.reason}`}`]),
      'The log lines item.parked name each of them.',
    ],
  };
}

export function spoolTrouble(trouble: string, detail: string, since: number): Words {
  return {
    reason: 'spoolTrouble',
    severity: 'critical',
    title: `The store of the mail is in trouble (${trouble})`,
    text: [
      `${detail}. Since ${moment(since)} new mail is refused with a temporary error; what was accepted stays where it is.`,
      trouble === 'damaged'
        ? 'Stop the gateway, copy the spool file with its -wal and -shm files to a safe place, then restore from a backup or start with an empty spool and keep the copy.'
        : 'Look at the disk: space, rights, df, mount, dmesg. The gateway goes on by itself once the store can be written.',
    ],
  };
}

export function spoolFull(reason: string): Words {
  return {
    reason: 'spoolFull',
    severity: 'critical',
    title: 'New mail is refused: there is no room for it',
    text: [
      `${reason}. Clients get a temporary error; printers and scanners often do not try again.`,
      'Free disk space (spool.minFree), get the queue moving if something holds it up, or raise spool.maxItems.',
    ],
  };
}

export interface FailedPickup {
  readonly pickup: string;
  readonly mailbox: string;
  readonly cause: string;
  readonly reason: string;
  readonly misconfigured: boolean;
  readonly since: number;
}

export function pickupFailed({ pickup, mailbox, cause, reason, misconfigured, since }: FailedPickup): Words {
  return {
    reason: 'pickupFailed',
    severity: 'critical',
    title: `Pickup ${pickup} cannot take mail from ${mailbox} (${cause})${misconfigured ? ': a person has to mend it' : ''}`,
    text: [
      `Since ${moment(since)} nothing of this mailbox reaches the legacy system. Its mail stays in the mailbox, none is lost or returned for this.`,
      reason,
      misconfigured
        ? 'The gateway tries again by itself, and takes what waits once it works; a restart makes it try at once.'
        : "Look at Microsoft's service health, your proxy, DNS and firewall. The gateway tries on, and takes what waits by itself.",
    ],
  };
}

export interface LastQuarantined {
  readonly messageId: string;
  readonly from: string;
  readonly cause: string;
  readonly reason: string;
  /** Could not even be moved. */
  readonly left: boolean;
}

export function mailQuarantined(pickup: string, quarantined: number, last: LastQuarantined): Words {
  const { messageId, from, cause, reason, left } = last;
  const sender = from === '' ? 'without a sender' : `from ${from}`;
  return {
    reason: 'mailQuarantined',
    severity: 'warning',
    title: `Pickup ${pickup} has put ${count(quarantined, 'message')} aside, for a person to look at`,
    text: [
      `The latest: ${messageId === '' ? 'one without a Message-ID' : messageId}, ${sender} (${cause}). ${reason}`,
      left
        ? 'It could not even be moved: it stays in the folder, and the gateway leaves it alone from now on. It was not handed over.'
        : 'It is in the quarantine folder of the mailbox and was not handed over.',
      'Look at it there, see to it by hand, and move it back if it shall be picked up after all. The log lines pickup.quarantined name each of them.',
    ],
  };
}

/** The route of the section `exchange` of the configuration; the others stand in its list `routes`. */
const FIRST = 'exchange';

function setting(route: string, key: string): string {
  return route === FIRST ? `exchange.${key}` : `${key} of the entry ${route} in routes`;
}

/** To the second, UTC. */
export function moment(time: number): string {
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString().replace(/\.\d+Z$/, 'Z') : String(time);
}

function ends(at: number, now: number): string {
  return `${at > now ? 'expires' : 'expired'} on ${moment(at).slice(0, 10)}`;
}
