/**
 * The transport to a program that is asked over HTTP (docs/hand-over.md): one POST an attempt, the message streamed, its
 * id as Idempotency-Key (draft-ietf-httpapi-idempotency-key-header). Acknowledged by a 2xx to a request that was sent
 * whole, and by nothing else. Promises of Transport, but for one: a request that got no answer is delayed, not unknown.
 * It is sent again, at least once until it is acknowledged, with the same key and the same octets; that the receiver
 * takes no key twice is what keeps a message from being doubled. The address's path and query, the headers of the
 * configuration and the key are in no status.
 */
import { asciiAddress } from '../mail/address.ts';
import { splitHeader } from '../mail/header.ts';
import { retryAfterOf } from '../mail/retry-after.ts';
import { SpoolError } from '../mail/spool.ts';
import type { DeliveryStatus, Failed } from '../mail/status.ts';
import {
  headerTooLarge,
  MAX_HEADER_SIZE,
  readHeader,
  replaceHeader,
  SizeMismatch,
  unreadable,
} from '../mail/stored.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { factsOf } from './facts.ts';
import type { Facts } from './facts.ts';
import { isRequestFailure, meaningOfAnswer, stopping, withoutAnswer } from './webhook-answers.ts';
import { webhookBody } from './webhook-body.ts';
import { sign } from './webhook-signature.ts';

/** What is used of Http.request (exchange/http.ts). Fails with a RequestFailure, or with the error of the body's reader. */
export type Send = (request: WebhookRequest) => Promise<WebhookResponse>;

export interface WebhookRequest {
  readonly method: 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly length: number; open(): AsyncIterable<Uint8Array> };
  readonly signal: AbortSignal;
}

export interface WebhookResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
  discard(): void;
}

export interface WebhookOptions {
  /** `https://` or `http://`, without user and password: those go into `headers`. */
  readonly url: string;
  /** raw: the message is the body. multipart: a form with the fields `envelope` (JSON) and `message` (a file). */
  readonly form: 'raw' | 'multipart';
  readonly send: Send;
  /** From webhookKey(). Absent: requests are not signed. */
  readonly key?: Uint8Array;
  /** Of each request, such as Authorization; none of the gateway's own can be changed by them. Secrets. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For events, default `webhook`. */
  readonly name?: string;
  /** Milliseconds in which the rest of an answer is waited for, default 10,000. Its status counts without it. */
  readonly answerTimeout?: number;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

/** Octets read of an answer. */
const MAX_ANSWER = 4_096;
/** Characters of the field that names the recipients; servers take 8,192 octets of all fields together, or more. */
const MAX_TO = 4_000;

export function webhookTransport(options: WebhookOptions): Transport {
  return {
    name: options.name ?? 'webhook',
    deliver: (outgoing, signal) => deliver(options, outgoing, signal),
    verify: async () => ({
      outcome: 'absent',
      certain: 'the receiver is told by the Idempotency-Key that it is the same message',
    }),
    // The connections belong to whoever made `send`.
    close: async () => {},
  };
}

async function deliver(options: WebhookOptions, outgoing: Outgoing, signal: AbortSignal): Promise<DeliveryStatus> {
  const { item } = outgoing;
  if (signal.aborted) return stopping('connect');
  if (item.headerSize > MAX_HEADER_SIZE) return headerTooLarge(item.headerSize, MAX_HEADER_SIZE);
  const to = item.envelope.recipients.map(({ address }) => asciiText(address)).join(',');
  if (to.length > MAX_TO && options.form === 'raw') return tooManyRecipients();
  try {
    const header = await readHeader(outgoing);
    const facts = await factsOf(item, splitHeader(header));
    const body = webhookBody(options.form, facts, () => replaceHeader(header, outgoing));
    const signed = await sign(item.id, (options.now ?? Date.now)(), body.open(), options.key, signal);
    if (signal.aborted) return stopping('connect');
    const headers = {
      ...lowerCase(options.headers ?? {}),
      ...lowerCase({
        'Content-Type': body.contentType,
        ...namesOf(facts, to),
        ...signed,
      }),
    };
    return await post(options, headers, body, signal);
  } catch (error) {
    if (error instanceof SpoolError || error instanceof SizeMismatch) return unreadable(error);
    throw error;
  }
}

async function post(
  options: WebhookOptions,
  headers: Readonly<Record<string, string>>,
  { length, open }: WebhookRequest['body'],
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  const { url, send } = options;
  const rest = new AbortController();
  let isWhole = false;
  async function* watched(): AsyncGenerator<Uint8Array> {
    yield* open();
    isWhole = true;
  }
  try {
    const response = await send({
      method: 'POST',
      url,
      headers,
      body: { length, open: watched },
      signal: AbortSignal.any([signal, rest.signal]),
    });
    // What it knew when it answered: the rest may still be asked for afterwards.
    const knewAll = isWhole;
    const timer = setTimeout(() => rest.abort(), options.answerTimeout ?? 10_000);
    const said = await beginning(response).finally(() => clearTimeout(timer));
    const { location } = response.headers;
    return meaningOfAnswer(
      {
        status: response.status,
        said: withoutSecrets(said, options.headers ?? {}),
        retryAfter: retryAfterOf(response.headers, (options.now ?? Date.now)()),
        place: location === undefined ? undefined : URL.parse(location, url)?.host,
        isWhole: knewAll,
      },
      new URL(url).host,
    );
  } catch (error) {
    if (isRequestFailure(error)) return withoutAnswer(error);
    throw error;
  }
}

/** Of the answer's body, as far as it comes. Read to its end where it is short, so that the connection can be used again. */
async function beginning(response: WebhookResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(Buffer.from(chunk.subarray(0, MAX_ANSWER - size)));
      size += chunk.length;
      if (size >= MAX_ANSWER) break;
    }
  } catch (error) {
    if (!isRequestFailure(error)) throw error;
  }
  response.discard();
  return Buffer.concat(chunks).toString('utf8');
}

/** Some receivers quote what they were sent. */
function withoutSecrets(said: string, headers: Readonly<Record<string, string>>): string {
  const secrets = Object.values(headers).flatMap((value) => [value, ...value.split(' ')]);
  return secrets.filter(({ length }) => length >= 6).reduce((text, secret) => text.replaceAll(secret, '[...]'), said);
}

function namesOf(facts: Facts, to: string): Record<string, string> {
  return {
    // A string of RFC 9651, as the draft wants it.
    'Idempotency-Key': `"${facts.id}"`,
    'X-SMTP2Exchange-Id': facts.id,
    'X-SMTP2Exchange-From': asciiText(facts.from),
    // Cut short it would name the wrong ones; the form has them all.
    ...(to.length > MAX_TO ? {} : { 'X-SMTP2Exchange-To': to }),
  };
}

/** The domain as A-labels; of the rest, what is not ASCII, `%` and `,` percent-encoded as UTF-8 (RFC 3986 section 2.1). */
export function asciiText(address: string): string {
  return asciiAddress(address.toWellFormed()).replace(/[^!-~]|[%,]/gu, (one) =>
    [...Buffer.from(one)].map((octet) => `%${octet.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

function lowerCase(fields: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]));
}

function tooManyRecipients(): Failed {
  return {
    outcome: 'failed',
    code: '5.5.3',
    cause: 'too many recipients',
    text: 'The message has too many recipients',
    reason: `The recipients have more than ${MAX_TO} characters, which no header field holds; form: multipart has room for them`,
  };
}
