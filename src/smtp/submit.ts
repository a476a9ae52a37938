/**
 * The transport to an SMTP server: submission to Exchange Online with XOAUTH2, or any smarthost with or without login. The
 * envelope is that of the message; only Bcc and what would show a blind recipient leaves the header. One transaction an
 * attempt. Recipients are answered for one by one: those refused stand apart in the status. Once the final dot was handed
 * over only an answer says what became of it, and SMTP has no way to look. Nothing is kept in memory but the header block.
 * Expected trouble is a value.
 */
import { asciiAddress, isSendable } from '../mail/address.ts';
import type { Recipient } from '../mail/envelope.ts';
import { joinHeader, splitHeader } from '../mail/header.ts';
import { hideBlind } from '../mail/recipients.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Apart, Delayed, DeliveryStatus, Failed, Relayed } from '../mail/status.ts';
import {
  headerTooLarge,
  MAX_HEADER_SIZE,
  PRECIOUS_FIELD,
  readHeader,
  replaceHeader,
  SizeMismatch,
  unreadable,
} from '../mail/stored.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { aborted, meaningOfReply, meaningOfTrouble, readReply } from './answers.ts';
import type { Circumstances } from './answers.ts';
import type { SessionOptions, SmtpSession, Submission, Submitted } from './client.ts';
import { SessionPool } from './pool.ts';
import type { PoolLogin } from './pool.ts';

export interface SubmissionOptions extends SessionOptions {
  readonly login: PoolLogin;
  /** For events, default `smtp`. */
  readonly transport?: string;
  /** Octets of a header block that are held in memory, default 1 MiB. */
  readonly maxHeaderSize?: number;
  /** Milliseconds since any moment, never set back. */
  readonly steady?: () => number;
}

export function smtpTransport(options: SubmissionOptions): Transport {
  const pool = new SessionPool(options);
  return {
    name: options.transport ?? 'smtp',
    deliver: (outgoing, signal) => deliver(options, pool, outgoing, signal),
    verify: async () => ({
      outcome: 'unknowable',
      reason: `${options.host} took the message over SMTP without an answer, and SMTP cannot be asked whether it was sent`,
    }),
    close: async () => pool.close(),
  };
}

async function deliver(
  options: SubmissionOptions,
  pool: SessionPool,
  outgoing: Outgoing,
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  const { item } = outgoing;
  if (signal.aborted) return aborted();
  const limit = options.maxHeaderSize ?? MAX_HEADER_SIZE;
  if (item.headerSize > limit) return headerTooLarge(item.headerSize, limit);
  const recipients = new Named(item.envelope.recipients);
  if (recipients.usable.length === 0) return unusable();
  const reversePath = asciiAddress(item.envelope.reversePath);
  if (/[\r\n<>]/.test(reversePath)) return unusableSender();
  try {
    const fields = hideBlind(
      splitHeader(await readHeader(outgoing)),
      item.envelope.recipients.map(({ address }) => address),
    );
    // SMTP has no two steps that it could ask for.
    const header = joinHeader(fields.filter(({ name }) => name !== PRECIOUS_FIELD));
    const submission: Submission = {
      envelope: { ...item.envelope, reversePath },
      recipients: recipients.usable,
      size: header.length + item.size - item.headerSize,
      isUtf8:
        [reversePath, ...recipients.usable.map(({ address }) => address)].some(isBeyondAscii) ||
        (item.envelope.smtpUtf8 === true && header.some((octet) => octet > 0x7f)),
      open: () => replaceHeader(header, outgoing),
    };
    const session = await pool.take(item.mailbox, signal);
    if ('outcome' in session) return session;
    return await submit(options, pool, session, submission, recipients, signal);
  } catch (error) {
    if (error instanceof SpoolError || error instanceof SizeMismatch) return unreadable(error);
    throw error;
  }
}

async function submit(
  options: SubmissionOptions,
  pool: SessionPool,
  session: SmtpSession,
  submission: Submission,
  recipients: Named,
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  if (submission.isUtf8 && !session.offers.smtpUtf8) {
    pool.giveBack(session);
    return needsUtf8();
  }
  const { size } = session.offers;
  if (size !== undefined && submission.size > size) {
    pool.giveBack(session);
    return meaningOfTrouble({ step: 'mail', code: 'TOO_LARGE' }, circumstancesOf(options));
  }
  try {
    const submitted = await session.send(submission, signal);
    return statusOf(submitted, recipients, circumstancesOf(options));
  } finally {
    pool.giveBack(session);
  }
}

function circumstancesOf({ host, port, login }: SubmissionOptions): Circumstances {
  return { host, port, login: login.kind === 'oauth' && login.user === undefined ? 'mailbox' : 'transport' };
}

/** The status of those the server took, or would have; the others stand apart, one group for each kind of refusal. */
function statusOf({ outcome, refused }: Submitted, recipients: Named, around: Circumstances): DeliveryStatus {
  const groups = new Map<string, { addresses: string[]; status: Delayed | Failed }>();
  const add = (addresses: readonly string[], status: Delayed | Failed): void => {
    if (addresses.length === 0) return;
    // The same code for another reason is another refusal: one may be for good and the other not.
    const kind = JSON.stringify({ ...status, text: undefined, reason: undefined });
    const group = groups.get(kind) ?? { addresses: [], status };
    group.addresses.push(...addresses);
    groups.set(kind, group);
  };
  for (const [address, words] of refused)
    add(recipients.inEnvelope(address), meaningOfReply(words, 'recipient', around));
  add(recipients.unusable, unusable());
  const apart: Apart[] = [...groups.values()].map(({ addresses, status }) => ({ recipients: addresses, status }));
  if (refused.size < recipients.usable.length) {
    const status = 'step' in outcome ? meaningOfTrouble(outcome, around) : accepted(outcome.reply);
    return apart.length === 0 ? status : { ...status, apart };
  }
  // Nobody is left: one group gives the status of the whole, best one that is tried again.
  const first = apart.find(({ status }) => status.outcome === 'delayed') ?? apart[0];
  if (first === undefined) throw new Error('all recipients were refused, and none of them is known');
  const others = apart.filter((one) => one !== first);
  return others.length === 0 ? first.status : { ...first.status, apart: others };
}

function accepted(words: string): Relayed {
  const reply = readReply(words);
  const said = [reply?.code, reply?.enhanced, reply?.text].filter((part) => part !== undefined).join(' ');
  return {
    outcome: 'relayed',
    code: '2.0.0',
    cause: `SMTP ${reply?.code ?? 250}`,
    text: 'Accepted by the mail server',
    reason: said,
  };
}

/** Recipients as they are named over the wire, each once, and by that name as the envelope has them. */
class Named {
  readonly usable: Recipient[] = [];
  /** As the envelope has them. */
  readonly unusable: string[] = [];
  readonly #byName = new Map<string, string[]>();

  constructor(recipients: readonly Recipient[]) {
    for (const recipient of recipients) {
      const name = asciiAddress(recipient.address);
      const known = this.#byName.get(name);
      if (!isSendable(name)) this.unusable.push(recipient.address);
      else if (known !== undefined) known.push(recipient.address);
      else {
        this.#byName.set(name, [recipient.address]);
        this.usable.push({ ...recipient, address: name });
      }
    }
  }

  inEnvelope(name: string): readonly string[] {
    return this.#byName.get(name) ?? [];
  }
}

function isBeyondAscii(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  return !/^[\x00-\x7f]*$/.test(text);
}

function unusable(): Failed {
  return {
    outcome: 'failed',
    code: '5.1.3',
    cause: 'unusable recipient',
    text: 'A recipient address is not valid',
    reason: 'A recipient address cannot be written in an SMTP command',
  };
}

function unusableSender(): Failed {
  return {
    outcome: 'failed',
    code: '5.1.7',
    cause: 'unusable sender',
    text: 'The sender address is not valid',
    reason: 'The envelope sender cannot be written in an SMTP command',
  };
}

function needsUtf8(): Failed {
  return {
    outcome: 'failed',
    code: '5.6.7',
    cause: 'no SMTPUTF8',
    text: 'An address or the header of the message is not ASCII, which the mail server does not take',
    reason: 'The server does not offer SMTPUTF8 (RFC 6531)',
  };
}
