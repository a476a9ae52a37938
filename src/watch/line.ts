/**
 * What each event says in the log: its level, its fields in a fixed order, and a sentence that can be understood alone
 * at three in the morning. Fields are flat; durations are seconds, times ISO 8601 in UTC, sizes octets. Every text goes
 * through the redactor, and lists are capped, so that a line stays below 32 KiB. Pure; never fails.
 */
import type { Event } from '../mail/event.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import { bytes, count, duration, instant, place, round, when } from './amounts.ts';
import type { Fields, Line } from './line-form.ts';
import { LONG, SHORT, line, list, optional } from './line-form.ts';
import { pickupLine } from './line-pickup.ts';
import type { Redactor } from './redact.ts';

/** Logins of operators are told; those of programs that send mail come with every message. */
const CONSOLE = 'console';

type Delivery = Extract<Event, { readonly messageId: string; readonly attempt: number }>;

const FRAMES = 10;

/** @param now epoch milliseconds, for sentences like "again in 5 min" */
function chosen({ auto, transport }: Extract<Event, { event: 'transport.chosen' }>, cause: string): string {
  if (!auto) return '';
  return transport === 'ews'
    ? ' as long as it is open to the gateway'
    : `, since EWS was closed to the gateway (${cause})`;
}

const SHADOW = {
  yes: 'Would have been sent as',
  no: 'Could not have been sent as',
  unknown: 'Would perhaps have been sent as',
};

export function lineOf(event: Event, redact: Redactor, now: number): Line {
  const { text, id, address } = redact;
  switch (event.event) {
    case 'gateway.starting':
      return line('info', `Starting version ${id(event.version)} on Node.js ${id(event.node)}`, {
        version: id(event.version),
        node: id(event.node),
        config: text(event.config),
      });
    case 'gateway.ready':
      return line('info', `Ready after ${duration(event.seconds)}`, { seconds: round(event.seconds) });
    case 'config.reloaded': {
      const { changed, needsRestart } = event;
      const late = needsRestart.length === 0 ? '' : `; only a restart takes ${text(needsRestart.join(', '))} into use`;
      const said = changed.length === 0 ? 'nothing has changed' : `${count(changed.length, 'change')}${late}`;
      return line(needsRestart.length === 0 ? 'info' : 'warn', `Configuration read anew: ${said}`, {
        config: text(event.config),
        ...(event.by === undefined ? {} : { by: text(event.by) }),
        changes: changed.length,
        changed: list(changed, text),
        needsRestart: list(needsRestart, text),
      });
    }
    case 'config.refused': {
      const { faults } = event;
      const more = faults.length > 1 ? `, and ${count(faults.length - 1, 'more fault')}` : '';
      return line(
        'error',
        `New configuration not taken, the one before stays in use: ${text(faults[0] ?? '')}${more}`,
        {
          config: text(event.config),
          ...(event.by === undefined ? {} : { by: text(event.by) }),
          faults: list(faults, (fault) => text(fault, LONG)),
        },
      );
    }
    case 'gateway.stopping':
      return line('info', `Stopping: ${text(event.why)}`, { why: text(event.why) });
    case 'gateway.stopped': {
      const cut =
        event.abandoned === 0
          ? ''
          : `, ${count(event.abandoned, 'attempt')} cut short, to be looked into at the next start`;
      return line('info', `Stopped after ${duration(event.seconds)}${cut}`, {
        seconds: round(event.seconds),
        abandoned: event.abandoned,
      });
    }
    case 'listener.open':
      return line('info', `Listener ${id(event.listener)} is open on ${place(event)}`, {
        listener: id(event.listener),
        address: id(event.address),
        port: event.port,
        tls: id(event.tls),
        auth: id(event.auth),
      });
    case 'console.open':
      return line('info', `Console, metrics and health on ${id(event.url)}`, { url: id(event.url) });
    case 'control.open':
      return line('info', `The command queue reaches this gateway at ${text(event.where)}`, {
        where: text(event.where),
      });
    case 'control.failed':
      return line('warn', `The command queue cannot reach this gateway: ${text(event.reason)}`, {
        where: text(event.where),
        reason: text(event.reason),
      });
    case 'session.opened':
      return line('debug', `${id(event.peer)} connected`, { listener: id(event.listener), peer: id(event.peer) });
    case 'session.closed':
      return line(
        'debug',
        `${id(event.peer)} left after ${duration(event.seconds)} and ${count(event.messages, 'message')}`,
        {
          listener: id(event.listener),
          peer: id(event.peer),
          seconds: round(event.seconds),
          messages: event.messages,
        },
      );
    case 'session.refused':
      return line('warn', `Refused ${id(event.peer)} (${event.refusal}): ${text(event.reply)}`, {
        listener: id(event.listener),
        peer: id(event.peer),
        user: event.user === undefined ? undefined : address(event.user),
        refusal: event.refusal,
        reply: text(event.reply),
        detail: optional(event.detail, (detail) => text(detail, LONG)),
      });
    case 'auth.succeeded':
    case 'auth.failed': {
      const [level, verb] =
        event.event === 'auth.failed'
          ? (['warn', 'failed to log in'] as const)
          : ([event.listener === CONSOLE ? 'info' : 'debug', 'logged in'] as const);
      return line(level, `${id(event.peer)} ${verb} as ${address(event.user)}`, {
        listener: id(event.listener),
        peer: id(event.peer),
        user: address(event.user),
        mechanism: id(event.mechanism),
      });
    }
    case 'auth.banned':
      return line(
        'warn',
        `${id(event.peer)} failed to log in ${count(event.failures, 'time')}, no login from it is taken until ${instant(event.until)}`,
        {
          listener: id(event.listener),
          peer: id(event.peer),
          until: instant(event.until),
          failures: event.failures,
        },
      );
    case 'certificate.loaded':
      return line(
        event.expiresAt > now ? 'info' : 'warn',
        `Listener ${id(event.listener)} shows a certificate ${event.generated ? 'of its own making, as none is configured, ' : ''}for ${text(event.subject)}, ${expiry(event.expiresAt, now)}`,
        {
          listener: id(event.listener),
          subject: text(event.subject),
          expiresAt: instant(event.expiresAt),
          generated: event.generated,
        },
      );
    case 'certificate.failed':
      return line(
        'error',
        `New certificate of listener ${id(event.listener)} not taken, the one before stays in use: ${text(event.reason)}`,
        { listener: id(event.listener), reason: text(event.reason, LONG) },
      );
    case 'certificate.expiring':
      return line(
        event.expiresAt > now ? 'warn' : 'error',
        `Certificate of listener ${id(event.listener)} for ${text(event.subject)}: ${expiry(event.expiresAt, now)}`,
        {
          listener: id(event.listener),
          subject: text(event.subject),
          expiresAt: instant(event.expiresAt),
        },
      );
    case 'message.accepted':
      return accepted(event, redact);
    case 'delivery.started':
      return line('debug', `Sending as ${address(event.mailbox)}, attempt ${event.attempt}`, delivery(event, redact));
    case 'delivery.relayed':
      return line(
        'info',
        `Delivered in ${duration(event.seconds)} as ${address(event.mailbox)}, attempt ${event.attempt}, ${duration(event.age)} after arrival`,
        {
          ...delivery(event, redact),
          ...outcome(event.status, event.messageId, redact),
          age: round(event.age),
          receivedAt: optional(event.receivedAt, instant),
        },
      );
    case 'delivery.delayed':
      return line(
        'warn',
        `Attempt ${event.attempt} as ${address(event.mailbox)} failed for now (${text(event.status.cause, SHORT)}), again ${
          event.status.reach === 'transport' ? 'when the route works' : when(event.due, now)
        }`,
        {
          ...delivery(event, redact),
          ...outcome(event.status, event.messageId, redact),
          due: instant(event.due),
        },
      );
    case 'delivery.failed':
      return line(
        'error',
        `Attempt ${event.attempt} as ${address(event.mailbox)} was refused for good (${text(event.status.cause, SHORT)})`,
        {
          ...delivery(event, redact),
          ...outcome(event.status, event.messageId, redact),
        },
      );
    case 'delivery.unknown':
      return line(
        'warn',
        `Attempt ${event.attempt} as ${address(event.mailbox)} got no clear answer (${text(event.status.cause, SHORT)}); the gateway looks ${when(event.due, now)} before it sends again`,
        {
          ...delivery(event, redact),
          ...outcome(event.status, event.messageId, redact),
          due: instant(event.due),
        },
      );
    case 'delivery.verified':
      return line(
        event.found === 'unknowable' ? 'warn' : 'info',
        `Looked for the message of unclear outcome: ${FOUND[event.found]}`,
        {
          ...delivery(event, redact),
          found: event.found,
          detail: optional(event.detail, (detail) => redact.textAbout(detail, event.messageId, LONG)),
        },
      );
    case 'item.parked':
      return line('error', `Parked, waits for an operator: ${redact.textAbout(event.why, event.messageId)}`, {
        id: id(event.id),
        messageId: id(event.messageId),
        route: id(event.route),
        mailbox: address(event.mailbox),
        why: redact.textAbout(event.why, event.messageId),
        outcome: event.status.outcome,
        ...outcome(event.status, event.messageId, redact),
      });
    case 'item.dropped':
      if (event.why === 'operator') {
        return line('warn', `Gone with its body: dropped by ${address(event.by)}`, {
          ...operated(event, redact),
          why: event.why,
          size: event.size,
        });
      }
      return line('error', `Gone with its body: ${DROPPED[event.why]}`, {
        id: id(event.id),
        messageId: id(event.messageId),
        route: id(event.route),
        mailbox: address(event.mailbox),
        why: event.why,
        size: event.size,
        age: event.age,
      });
    case 'item.retried':
      return line('info', `To be tried at once, asked for by ${address(event.by)}`, operated(event, redact));
    case 'item.held':
      return line('info', `Held until it is released, by ${address(event.by)}`, operated(event, redact));
    case 'item.moved':
      return line('info', `Waits to be sent ${moved(event, redact)}, moved by ${address(event.by)}`, {
        ...operated(event, redact),
        fromRoute: id(event.from.route),
        fromMailbox: address(event.from.mailbox),
      });
    case 'item.exported':
      return line('info', `Its message was read out by ${address(event.by)}`, operated(event, redact));
    case 'item.viewed':
      return line('info', `Its content was looked at by ${address(event.by)}`, operated(event, redact));
    case 'lease.lost':
      return line(
        'warn',
        'The attempt was given up: this gateway was stopped, or cut off from the database, for longer than spool.lease, so that another one may have the message',
        {
          id: id(event.id),
          messageId: id(event.messageId),
          route: id(event.route),
          mailbox: address(event.mailbox),
        },
      );
    case 'item.split':
      return line(
        'warn',
        `${count(event.recipients.length, 'recipient')} of item ${id(event.from)} ended otherwise and ${event.recipients.length === 1 ? 'is' : 'are'} an item of their own now: ${redact.textAbout(event.status.text, event.messageId)}`,
        {
          id: id(event.id),
          messageId: id(event.messageId),
          route: id(event.route),
          mailbox: address(event.mailbox),
          from: id(event.from),
          recipients: list(event.recipients, address),
          recipientCount: event.recipients.length,
          outcome: event.status.outcome,
          ...outcome(event.status, event.messageId, redact),
        },
      );
    case 'delivery.bounced':
      return line(
        'error',
        `Given up (${text(event.why)}); ${address(event.to)} is told by ${id(event.notice)}: ${redact.textAbout(event.status.text, event.messageId)}`,
        { ...told(event, redact), why: text(event.why) },
      );
    case 'delivery.warned':
      return line(
        'warn',
        `Not delivered for ${duration(event.age)}; ${address(event.to)} is told by ${id(event.notice)}: ${redact.textAbout(event.status.text, event.messageId)}`,
        { ...told(event, redact), age: round(event.age) },
      );
    case 'delivery.notified':
      return line(
        'info',
        `Handed over; ${address(event.to)} is told by ${id(event.notice)}: ${redact.textAbout(event.status.text, event.messageId)}`,
        told(event, redact),
      );
    case 'route.held':
      return line(
        'error',
        `Route ${id(event.route)} held (${text(event.cause, SHORT)}); mail is kept, next try ${when(event.until, now)}${event.misconfigured ? '; a person has to mend the configuration' : ''}${event.elsewhere === true ? '; found out by another gateway' : ''}`,
        {
          route: id(event.route),
          cause: text(event.cause, SHORT),
          reason: text(event.reason, LONG),
          until: instant(event.until),
          misconfigured: event.misconfigured,
          elsewhere: event.elsewhere,
        },
      );
    case 'transport.chosen':
      return line(
        'info',
        `Route ${id(event.route)} sends by ${id(event.transport)}${chosen(event, text(event.cause ?? '', SHORT))}`,
        {
          route: id(event.route),
          transport: id(event.transport),
          auto: event.auto,
          since: event.at === undefined ? undefined : instant(event.at),
          cause: event.cause === undefined ? undefined : text(event.cause, SHORT),
        },
      );
    case 'transport.changed':
      return line(
        event.to === 'graph' ? 'error' : 'warn',
        event.to === 'graph'
          ? `Route ${id(event.route)} sends by Microsoft Graph from now on: EWS is closed to the gateway (${text(event.cause, SHORT)})`
          : `Route ${id(event.route)} sends by EWS again (${text(event.cause, SHORT)})`,
        { route: id(event.route), from: event.from, to: event.to, cause: text(event.cause, SHORT) },
      );
    case 'transport.probed':
      return line(
        'info',
        event.open
          ? `EWS is open to the gateway again; route ${id(event.route)} ${event.returns ? 'returns to it' : 'stays with Microsoft Graph'}`
          : `EWS is closed to the gateway; route ${id(event.route)} stays with Microsoft Graph`,
        { route: id(event.route), transport: event.transport, open: event.open },
      );
    case 'shadow.rehearsed':
      return line(
        event.reached === 'no' ? 'warn' : 'info',
        `${SHADOW[event.reached]} ${address(event.mailbox)} by ${id(event.transport)} to ${count(event.recipients, 'recipient')}${event.cause === undefined ? '' : ` (${text(event.cause, SHORT)})`}`,
        {
          id: id(event.id),
          messageId: id(event.messageId),
          route: id(event.route),
          mailbox: address(event.mailbox),
          transport: id(event.transport),
          reached: event.reached,
          from: list(event.from, address),
          needsSendAs: event.needsSendAs,
          recipientCount: event.recipients,
          blindCount: event.blind,
          size: event.size,
          cause: event.cause === undefined ? undefined : text(event.cause, SHORT),
          reason: event.reason === undefined ? undefined : redact.textAbout(event.reason, event.messageId),
        },
      );
    case 'route.released':
      return line('info', `Route ${id(event.route)} works again after ${duration(event.seconds)}`, {
        route: id(event.route),
        seconds: round(event.seconds),
      });
    case 'lane.held':
      return line(
        'warn',
        `${address(event.mailbox)} ${event.throttled ? 'is throttled' : 'waits'} (${text(event.cause, SHORT)}), next try ${when(event.until, now)}`,
        {
          route: id(event.route),
          mailbox: address(event.mailbox),
          cause: text(event.cause, SHORT),
          until: instant(event.until),
          throttled: event.throttled,
        },
      );
    case 'pickup.opened':
    case 'pickup.polled':
    case 'pickup.resynced':
    case 'pickup.refused':
    case 'pickup.skipped':
    case 'pickup.quarantined':
    case 'pickup.repeated':
    case 'pickup.filed':
    case 'pickup.delayed':
    case 'pickup.failed':
    case 'pickup.recovered':
    case 'pickup.deaf':
    case 'pickup.waiting':
      return pickupLine(event, redact, now);
    case 'duty.taken':
      return line('info', `This gateway has the duty ${text(event.duty)} from now on`, {
        duty: text(event.duty),
        pickup: optional(event.pickup, text),
      });
    case 'duty.lost':
      return line(
        'warn',
        `The duty ${text(event.duty)} could not be kept after ${duration(event.seconds)}: another gateway may have it by now, so nothing more is done for it here`,
        { duty: text(event.duty), pickup: optional(event.pickup, text), seconds: round(event.seconds) },
      );
    case 'duty.left':
      return line('info', `The duty ${text(event.duty)} is left to the other gateways`, {
        duty: text(event.duty),
        pickup: optional(event.pickup, text),
        seconds: round(event.seconds),
      });
    case 'duty.elsewhere':
      return line(
        'info',
        `${event.other === undefined ? 'Another gateway' : `The gateway on ${text(event.other)}`} has the duty ${text(event.duty)}; this one takes over when that one is silent`,
        { duty: text(event.duty), pickup: optional(event.pickup, text), other: optional(event.other, text) },
      );
    case 'token.acquired':
      return line('info', `New token for ${id(event.account)}, good until ${instant(event.expiresAt)}`, {
        account: id(event.account),
        expiresAt: instant(event.expiresAt),
        seconds: round(event.seconds),
        roles: list(event.roles, text),
        roleCount: event.roles.length,
      });
    case 'token.failed':
      return line(
        event.validUntil === undefined ? 'error' : 'warn',
        `No new token for ${id(event.account)} (${text(event.cause, SHORT)}); ${
          event.validUntil === undefined
            ? 'nothing can be sent'
            : `the present one is good until ${instant(event.validUntil)}`
        }`,
        {
          account: id(event.account),
          cause: text(event.cause, SHORT),
          advice: text(event.advice, LONG),
          misconfigured: event.misconfigured,
          validUntil: optional(event.validUntil, instant),
          seconds: round(event.seconds),
        },
      );
    case 'token.warning':
      return line('warn', `Token for ${id(event.account)}: ${text(event.warning)}`, {
        account: id(event.account),
        warning: text(event.warning, LONG),
      });
    case 'transport.warning':
      return line('warn', `Transport ${id(event.transport)}: ${text(event.warning)}`, {
        transport: id(event.transport),
        warning: text(event.warning, LONG),
      });
    case 'credential.loaded':
      return line('info', `Credential of ${id(event.account)} read anew, in use from the next login on`, {
        account: id(event.account),
        expiresAt: optional(event.expiresAt, instant),
      });
    case 'credential.failed':
      return line(
        'error',
        `New credential of ${id(event.account)} not taken, the one before stays in use: ${text(event.reason)}`,
        { account: id(event.account), reason: text(event.reason, LONG) },
      );
    case 'spool.open':
      return line(
        'info',
        `Spool open with ${count(event.queued, 'item')} waiting, ${event.recovered} of them found in the middle of an attempt`,
        {
          where: text(event.where),
          spool: text(event.spool),
          queued: event.queued,
          recovered: event.recovered,
          swept: event.swept,
          seconds: round(event.seconds),
        },
      );
    case 'spool.trouble':
      return line('error', `Spool in trouble (${id(event.trouble)}): ${text(event.detail)}`, {
        trouble: id(event.trouble),
        detail: text(event.detail, LONG),
      });
    case 'spool.takenOver':
      return line(
        'warn',
        `${count(event.items, 'item')} taken over from ${text(event.from)}, which is not heard of any more: to be looked into before being sent`,
        { where: text(event.where), items: event.items, from: text(event.from) },
      );
    case 'spool.recovered':
      return line('info', `Spool works again, with ${count(event.queued, 'item')} waiting`, {
        where: text(event.where),
        queued: event.queued,
      });
    case 'alarm.raised':
      return line(
        event.severity === 'critical' ? 'error' : 'warn',
        `${event.repeated ? 'Alarm lasts' : 'Alarm'}: ${text(event.title)}`,
        {
          alarm: text(event.alarm),
          reason: event.reason,
          severity: event.severity,
          title: text(event.title),
          text: text(event.text, LONG),
          since: instant(event.since),
          repeated: event.repeated,
        },
      );
    case 'alarm.recovered':
      return line('info', `Alarm over after ${duration(event.seconds)}: ${text(event.title)}`, {
        alarm: text(event.alarm),
        reason: event.reason,
        title: text(event.title),
        seconds: round(event.seconds),
      });
    case 'alarm.left':
      return line('info', `Another gateway tells of this alarm from now on: ${text(event.title)}`, {
        alarm: text(event.alarm),
        reason: event.reason,
        title: text(event.title),
      });
    case 'alarm.failed':
      return line(
        event.givenUp ? 'error' : 'warn',
        `${event.alarm === undefined ? 'Sign of life' : `Notice by ${id(event.channel)}`} did not get through${event.givenUp ? '' : ', it is tried again'}: ${text(event.failure)}`,
        {
          channel: id(event.channel),
          alarm: optional(event.alarm, text),
          attempt: event.attempt,
          failure: text(event.failure),
          givenUp: event.givenUp,
        },
      );
    case 'log.dropped':
      return line('warn', `${count(event.lines, 'log line')} given up because the log's reader was too slow`, {
        lines: event.lines,
      });
    case 'bug':
      return line('error', `A bug in ${text(event.where)}, please report it: ${text(event.error.message)}`, {
        id: optional(event.id, id),
        where: text(event.where),
        error: text(`${event.error.name}: ${event.error.message}`, LONG),
        stack: frames(event.error, redact),
      });
    default:
      return unreachable(event);
  }
}

function accepted(event: Extract<Event, { event: 'message.accepted' }>, redact: Redactor): Line {
  const { text, id, address } = redact;
  const { origin } = event;
  const from = `from ${address(event.reversePath)} for ${count(event.recipients.length, 'recipient')}`;
  const isPickup = origin.source === 'pickup';
  const isBrought = origin.source === 'smtp';
  const how = isPickup
    ? `Picked up ${bytes(event.size)} ${from} by ${id(origin.name)}`
    : isBrought
      ? `Accepted ${bytes(event.size)} ${from} by ${id(origin.name)} from ${id(origin.peer)}`
      : `Made a notice of ${bytes(event.size)} ${from}`;
  return line('info', how, {
    id: id(event.id),
    messageId: id(event.messageId),
    source: origin.source,
    listener: isBrought ? id(origin.name) : undefined,
    pickup: isPickup ? id(origin.name) : undefined,
    receivedAt: optional(origin.receivedAt, instant),
    peer: isBrought ? id(origin.peer) : undefined,
    helo: optional(origin.helo, text),
    user: optional(origin.user, address),
    tls: optional(origin.tls, id),
    reversePath: address(event.reversePath),
    recipients: list(event.recipients, address),
    recipientCount: event.recipients.length,
    size: event.size,
    items: list(event.items, id),
    itemCount: event.items.length,
    repairs: list(event.repairs, (repair) => text(repair, 200)),
    seconds: round(event.seconds),
  });
}

/** What of its way out is another one: the mailbox, the route, or both. */
function moved({ mailbox, route, from }: Extract<Event, { event: 'item.moved' }>, { id, address }: Redactor): string {
  const routes = [id(route), id(from.route)];
  const mailboxes = [address(mailbox), address(from.mailbox)];
  if (mailbox === from.mailbox) return `on route ${routes.join(' instead of ')}`;
  if (route === from.route) return `as ${mailboxes.join(' instead of ')}`;
  return `as ${mailboxes.map((one, at) => `${one} on route ${routes[at]}`).join(' instead of ')}`;
}

function expiry(at: number, now: number): string {
  return at > now ? `good until ${instant(at)}` : `expired since ${instant(at)}`;
}

const DROPPED = {
  age: 'it was parked for longer than spool.parkedRetention allows',
  size: 'more was parked than spool.parkedSize allows, and it was the oldest',
} as const satisfies Record<Extract<Event, { event: 'item.dropped'; age: number }>['why'], string>;

const FOUND = {
  relayed: 'it was sent, done',
  absent: 'it was not sent, sending it again',
  unknowable: 'there is no evidence either way',
  delayed: 'could not look, later again',
} as const;

function delivery(event: Delivery, { id, address }: Redactor): Fields {
  return {
    id: id(event.id),
    messageId: id(event.messageId),
    route: id(event.route),
    mailbox: address(event.mailbox),
    transport: id(event.transport),
    attempt: event.attempt,
    size: event.size,
    seconds: 'seconds' in event ? round(event.seconds) : undefined,
  };
}

function operated(event: Extract<Event, { readonly by: string }>, { id, address }: Redactor): Fields {
  return {
    id: id(event.id),
    messageId: id(event.messageId),
    route: id(event.route),
    mailbox: address(event.mailbox),
    by: address(event.by),
  };
}

function told(event: Extract<Event, { readonly notice: string }>, redact: Redactor): Fields {
  const { id, address } = redact;
  return {
    id: id(event.id),
    messageId: id(event.messageId),
    route: id(event.route),
    mailbox: address(event.mailbox),
    to: address(event.to),
    notice: id(event.notice),
    recipients: list(event.recipients, address),
    recipientCount: event.recipients.length,
    outcome: event.status.outcome,
    ...outcome(event.status, event.messageId, redact),
  };
}

function outcome(status: DeliveryStatus, messageId: string, { id, text, textAbout }: Redactor): Fields {
  const delayed = status.outcome === 'delayed' ? status : undefined;
  return {
    code: status.code,
    cause: text(status.cause, SHORT),
    reach: delayed?.reach,
    text: textAbout(status.text, messageId),
    reason: optional(status.reason, (reason) => textAbout(reason, messageId, LONG)),
    retryAfter: optional(delayed?.retryAfter, (milliseconds) => milliseconds / 1000),
    throttled: delayed?.throttled,
    capped: delayed?.capped,
    clientRequestId: optional(status.ids?.clientRequestId, id),
    requestId: optional(status.ids?.requestId, id),
    server: optional(status.ids?.server, id),
  };
}

/** Where it happened: the innermost calls, without the message that the stack begins with. */
function frames({ stack = '' }: Error, { text }: Redactor): readonly string[] {
  return stack
    .split('\n')
    .filter((frame) => /^\s+at /.test(frame))
    .slice(0, FRAMES)
    .map((frame) => text(frame.trim(), 300));
}
