/**
 * The sandbox's control API, JSON over the same HTTPS port: what arrived, with raw MIME and the recipients as Exchange
 * computes them; mail put into a mailbox; faults to be set and cleared. A bad request gets a sentence and changes nothing.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { controlMailbox } from './control-mailboxes.ts';
import type { Faults, Known } from './fault.ts';
import {
  isBoolean,
  isCount,
  isDelay,
  isHeaderValue,
  isRecord,
  isRetryAfter,
  isStatus,
  isString,
  readFault,
  strangeIn,
} from './fault.ts';
import type { Identity, IdentityFault } from './identity.ts';
import type { Arrival, Mailboxes } from './mailboxes.ts';
import { SMTP_STEPS } from './smtp-fault.ts';
import type { SmtpFault } from './smtp-fault.ts';
import type { SmtpSandbox } from './smtp.ts';
import { FOLDERS } from './store.ts';

export interface ControlParts {
  readonly mailboxes: Mailboxes;
  readonly faults: Faults;
  readonly identity: Identity;
  readonly smtp: SmtpSandbox;
  /** Whether EWS is open to anybody. */
  readonly ews: { open: boolean };
}

const BODY_LIMIT = 1024 * 1024;

const HELP = `This is the sandbox of smtp2exchange: a small Entra ID and Exchange on loopback, in memory. It is no real Exchange.

GET    /control/arrived          what was sent through it: sender, recipients as Exchange computes them, where the MIME is
GET    /control/arrived/N.eml    the MIME of one, as it was submitted
DELETE /control/arrived          forget all mail
GET    /control/mailboxes        folders and what lies in them
GET    /control/mailboxes/ADDRESS          one mailbox with all its folders: ids, subjects, what is read
POST   /control/mailboxes/ADDRESS/receive  mail from outside: the body is the message as it is. ?folder=Inbox/Faxes (made if
                                 need be), itemClass=IPM.Note, read=true, broken=mime (no MIME to be had) or item
GET    /control/faults           what it does wrong on command
POST   /control/faults           {"when": {"operation": "CreateItem", "count": 1}, "does": {"responseCode": "ErrorServerBusy"}}
DELETE /control/faults           behave again
POST   /control/ews              {"open": true}: opens EWS; false closes it to everybody, the way Microsoft does
POST   /control/identity/faults  {"aadsts": 7000222, "times": 1}: what the token endpoint does wrong
GET    /control/smtp             its port, and the envelopes it has taken
POST   /control/smtp/faults      {"at": "rcpt", "about": "bob@", "reply": "450 4.2.0 later", "times": 1}: what SMTP does wrong
POST   /control/identity         {"revoke": true, "lifetimeSeconds": 60}: tokens out are refused; how long new ones live
`;

export async function control(
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  parts: ControlParts,
): Promise<void> {
  const { mailboxes, faults, identity, smtp, ews } = parts;
  response.setHeader('x-sandbox', 'smtp2exchange sandbox, no real Exchange');
  const eml = /^\/control\/arrived\/(\d+)\.eml$/.exec(path)?.[1];
  if (eml !== undefined && request.method === 'GET') {
    const arrival = mailboxes.arrivals[Number(eml)];
    if (!arrival) return json(response, 404, { error: `nothing arrived under number ${eml}` });
    response.writeHead(200, { 'content-type': 'message/rfc822' });
    return void response.end(arrival.submitted);
  }
  const ofMailbox = await controlMailbox(path, request, mailboxes);
  if (ofMailbox) return json(response, ofMailbox.status, ofMailbox.value);
  switch (`${request.method} ${path}`) {
    case 'GET /':
    case 'GET /control':
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
      return void response.end(HELP);
    case 'GET /control/arrived':
      return json(response, 200, mailboxes.arrivals.map(shown));
    case 'DELETE /control/arrived':
      mailboxes.clear();
      return json(response, 200, {});
    case 'GET /control/mailboxes':
      return json(
        response,
        200,
        mailboxes.all.map((mailbox) => ({
          address: mailbox.address,
          ...Object.fromEntries(
            FOLDERS.map((folder) => [
              folder,
              mailbox[folder].map(({ subject, messageId, from, to, cc, mime }) => ({
                subject,
                messageId,
                from,
                to,
                cc,
                size: mime.length,
              })),
            ]),
          ),
        })),
      );
    case 'GET /control/faults':
      return json(response, 200, faults.list());
    case 'DELETE /control/faults':
      faults.clear();
      identity.faults.clear();
      smtp.clearFaults();
      return json(response, 200, {});
    case 'POST /control/faults': {
      const fault = readFault(await bodyOf(request));
      if (typeof fault === 'string') return json(response, 400, { error: fault });
      faults.add(fault);
      return json(response, 201, fault);
    }
    case 'POST /control/ews': {
      const wish = await bodyOf(request);
      const sentence = isRecord(wish) ? strangeIn(wish, EWS_WISHES) : 'a wish is an object';
      if (sentence !== undefined) return json(response, 400, { error: sentence });
      const { open = ews.open } = wish as { open?: boolean };
      ews.open = open;
      return json(response, 200, { open });
    }
    case 'POST /control/identity/faults': {
      const fault = readIdentityFault(await bodyOf(request));
      if (typeof fault === 'string') return json(response, 400, { error: fault });
      identity.faults.push(fault);
      return json(response, 201, fault);
    }
    case 'GET /control/smtp':
      return json(response, 200, { port: smtp.port, transactions: smtp.transactions });
    case 'POST /control/smtp/faults': {
      const fault = readSmtpFault(await bodyOf(request));
      if (typeof fault === 'string') return json(response, 400, { error: fault });
      smtp.fault(fault);
      return json(response, 201, fault);
    }
    case 'POST /control/identity': {
      const wish = await bodyOf(request);
      const sentence = isRecord(wish) ? strangeIn(wish, IDENTITY_WISHES) : 'a wish is an object';
      if (sentence !== undefined) return json(response, 400, { error: sentence });
      const { revoke, lifetimeSeconds } = wish as { revoke?: boolean; lifetimeSeconds?: number };
      if (lifetimeSeconds !== undefined) identity.lifetime = lifetimeSeconds;
      if (revoke === true) identity.revokeAll();
      return json(response, 200, { lifetimeSeconds: identity.lifetime });
    }
    default:
      return json(response, 404, { error: `no ${request.method} ${path} here; GET /control says what there is` });
  }
}

function shown(arrival: Arrival, number: number): Record<string, unknown> {
  const { submitted, at, ...facts } = arrival;
  return {
    ...facts,
    at: new Date(at).toISOString(),
    size: submitted.length,
    mime: `/control/arrived/${number}.eml`,
  };
}

const EWS_WISHES: Known = { open: isBoolean };
const IDENTITY_WISHES: Known = { revoke: isBoolean, lifetimeSeconds: isAboveZero };
const IDENTITY_FAULTS: Known = {
  times: isAboveZero,
  delayMs: isDelay,
  hang: isBoolean,
  cut: isBoolean,
  status: isStatus,
  body: isString,
  contentType: isHeaderValue,
  retryAfter: isRetryAfter,
  aadsts: isAboveZero,
  error: isString,
  // 0: it has expired when it is issued.
  lifetimeSeconds: isCount,
};

function readIdentityFault(data: unknown): IdentityFault | string {
  if (!isRecord(data)) return 'a fault is an object';
  return strangeIn(data, IDENTITY_FAULTS) ?? data;
}

const SMTP_FAULTS: Known = {
  at: (value) => SMTP_STEPS.some((step) => step === value),
  about: isString,
  reply: (value) => isString(value) && /^[2-5]\d\d [^\r\n]*$/.test(String(value)),
  silent: isBoolean,
  cut: isBoolean,
  acts: isBoolean,
  hides: (value) => Array.isArray(value) && value.every(isString),
  openRelay: isBoolean,
  times: isAboveZero,
};

function readSmtpFault(data: unknown): SmtpFault | string {
  if (!isRecord(data)) return 'a fault is an object';
  const { at, ...rest } = data;
  if (at === undefined) return `at must be one of ${SMTP_STEPS.join(', ')}`;
  return strangeIn(data, SMTP_FAULTS) ?? ({ ...rest, at } as SmtpFault);
}

function isAboveZero(value: unknown): boolean {
  return isCount(value) && Number(value) > 0;
}

/** The JSON that was sent; undefined for what is none. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  // Read to its end even if it is too large, so that the refusal is heard.
  for await (const chunk of request.setEncoding('utf8')) if (text.length <= BODY_LIMIT) text += chunk as string;
  if (text.length > BODY_LIMIT) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(`${JSON.stringify(value, undefined, 2)}\n`);
}
