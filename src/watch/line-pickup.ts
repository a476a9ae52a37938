/**
 * What the events of a pickup say in the log, as line.ts does for all the others. A mail is named by its Message-ID and
 * its sender: by these it is found in the mailbox. Pure; never fails.
 */
import type { PickupEvent } from '../mail/event.ts';
import { unreachable } from '../mail/status.ts';
import { count, duration, instant, round, when } from './amounts.ts';
import type { Fields, Line } from './line-form.ts';
import { LONG, SHORT, line } from './line-form.ts';
import type { Redactor } from './redact.ts';

const TRANSPORT = { ews: 'EWS', graph: 'Microsoft Graph' } as const;
const FILED = { move: 'Moved', delete: 'Deleted', read: 'Marked as read' } as const;

/** @param now epoch milliseconds, for sentences like "again in 5 min" */
export function pickupLine(event: PickupEvent, redact: Redactor, now: number): Line {
  const { text, id, address } = redact;
  const pickup = id(event.pickup);
  switch (event.event) {
    case 'pickup.opened':
      return line(
        'info',
        `Pickup ${pickup} takes mail from ${place(event, redact)} by ${TRANSPORT[event.transport]}${event.listens ? ', told of new mail by the server' : ''}`,
        { pickup, ...folder(event, redact), transport: event.transport, listens: event.listens },
      );
    case 'pickup.polled':
      return line('debug', `Pickup ${pickup} found ${count(event.found, 'new mail')}`, {
        pickup,
        why: event.why,
        found: event.found,
        seconds: round(event.seconds),
      });
    case 'pickup.resynced':
      return line(
        'warn',
        `Pickup ${pickup} lists all of ${place(event, redact)} anew, as the server has lost its place in it; nothing is handed over twice`,
        { pickup, ...folder(event, redact) },
      );
    case 'pickup.refused':
      return line(
        'info',
        `Pickup ${pickup} refused a mail from ${address(event.from)} (${event.cause})${event.told ? ', its sender is told' : ''}: ${redact.textAbout(event.reason, event.messageId)}`,
        { ...mail(event, redact), cause: event.cause, ...reason(event, redact), told: event.told },
      );
    case 'pickup.skipped':
      return line(
        'info',
        `Pickup ${pickup} left a mail from ${address(event.from)} where it is, by rule (${text(event.cause, SHORT)})`,
        { ...mail(event, redact), cause: text(event.cause, SHORT) },
      );
    case 'pickup.quarantined':
      return line(
        'warn',
        `Pickup ${pickup} ${event.left ? 'leaves a mail' : 'put a mail'} from ${address(event.from)} ${event.left ? 'untouched in its folder, it could not even be moved' : 'aside for a person to look at'} (${text(event.cause, SHORT)})`,
        { ...mail(event, redact), cause: text(event.cause, SHORT), ...reason(event, redact), left: event.left },
      );
    case 'pickup.repeated':
      return line('debug', `Pickup ${pickup} had handed this mail over before; it is only filed now`, {
        messageId: id(event.messageId),
        pickup,
      });
    case 'pickup.filed':
      return line(
        'debug',
        event.gone ? 'Somebody else had moved it out of the folder' : `${FILED[event.filing]} in its mailbox`,
        { messageId: id(event.messageId), pickup, filing: event.filing, gone: event.gone },
      );
    case 'pickup.delayed':
      return line(
        'warn',
        `Pickup ${pickup} could not fetch or file a mail (${text(event.cause, SHORT)}), ${count(event.tries, 'try', 'tries')} so far, again ${when(event.due, now)}`,
        {
          messageId: id(event.messageId),
          pickup,
          cause: text(event.cause, SHORT),
          ...reason(event, redact),
          tries: event.tries,
          due: instant(event.due),
        },
      );
    case 'pickup.failed':
      return line(
        event.misconfigured ? 'error' : 'warn',
        `Pickup ${pickup} cannot take mail from ${address(event.mailbox)} (${text(event.cause, SHORT)}); mail waits there, next try ${when(event.until, now)}${event.misconfigured ? '; a person has to mend the configuration' : ''}`,
        {
          pickup,
          mailbox: address(event.mailbox),
          cause: text(event.cause, SHORT),
          reason: text(event.reason, LONG),
          until: instant(event.until),
          misconfigured: event.misconfigured,
        },
      );
    case 'pickup.recovered':
      return line(
        'info',
        `Pickup ${pickup} takes mail from ${address(event.mailbox)} again after ${duration(event.seconds)}`,
        { pickup, mailbox: address(event.mailbox), seconds: round(event.seconds) },
      );
    case 'pickup.deaf':
      return line(
        'warn',
        `Pickup ${pickup} is not told of new mail any more (${text(event.cause, SHORT)}); it looks for it at its interval and asks to be told again`,
        { pickup, cause: text(event.cause, SHORT), reason: text(event.reason, LONG) },
      );
    case 'pickup.waiting':
      return line(
        'warn',
        `Pickup ${pickup} waits: ${text(event.other)} takes mail from ${place(event, redact)}; this gateway begins when that one is silent`,
        { pickup, ...folder(event, redact), other: text(event.other) },
      );
    default:
      return unreachable(event);
  }
}

interface Place {
  readonly mailbox: string;
  readonly folder: string;
}

function place(at: Place, { address, text }: Redactor): string {
  return `folder ${text(at.folder)} of ${address(at.mailbox)}`;
}

function folder(at: Place, { address, text }: Redactor): Fields {
  return { mailbox: address(at.mailbox), folder: text(at.folder) };
}

function mail(event: Extract<PickupEvent, { readonly from: string }>, { id, address }: Redactor): Fields {
  return { messageId: id(event.messageId), pickup: id(event.pickup), from: address(event.from) };
}

function reason(event: { readonly reason: string; readonly messageId: string }, { textAbout }: Redactor): Fields {
  return { reason: textAbout(event.reason, event.messageId, LONG) };
}
