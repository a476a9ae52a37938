/**
 * The transport to a program (docs/hand-over.md): started once an attempt, the message on its standard input, the facts
 * in its environment, its exit code decides. Promises of Transport, but for one: a program that had to be killed at its
 * time limit is delayed, not unknown, because only exit code 0 takes a message. So it runs at least once; the variable
 * SMTP2EXCHANGE_ID is the same each time. After a crash or a stop of the gateway nobody knows what a program came to:
 * the queue runs it once more, and hands the message to the operator if that happens again.
 */
import { splitHeader } from '../mail/header.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, DeliveryStatus, Failed, Verification } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import {
  headerTooLarge,
  MAX_HEADER_SIZE,
  readHeader,
  replaceHeader,
  SizeMismatch,
  unreadable,
  cutShort,
} from '../mail/stored.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { meaningOfEnd, notStarted } from './command-answers.ts';
import type { Facts } from './facts.ts';
import { factsOf } from './facts.ts';
import { run } from './program.ts';
import type { Ended } from './program.ts';

export interface CommandOptions {
  /** The program, by its path or its name in the PATH of `environment`, and its arguments, as they are. */
  readonly command: readonly [string, ...string[]];
  /** Milliseconds for one run. */
  readonly timeout: number;
  /** What the program gets besides the facts; nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  /** Working directory, default the gateway's. */
  readonly folder?: string;
  /** For events, default `command`. */
  readonly name?: string;
  /** Milliseconds between SIGTERM and SIGKILL, default 2,000. */
  readonly killAfter?: number;
}

/** Words of the journal. */
const RUNNING = 'running';
const ENDED = 'ended';
/** Octets of one variable; Linux takes 131,072 with its name (MAX_ARG_STRLEN). */
const MAX_VARIABLE = 100_000;

export function commandTransport(options: CommandOptions): Transport {
  return {
    name: options.name ?? 'command',
    deliver: (outgoing, signal) => deliver(options, outgoing, signal),
    verify: (outgoing) => verify(options, outgoing),
    close: async () => {},
  };
}

async function deliver(options: CommandOptions, outgoing: Outgoing, signal: AbortSignal): Promise<DeliveryStatus> {
  const { item, journal } = outgoing;
  if (signal.aborted) return stopped();
  if (item.headerSize > MAX_HEADER_SIZE) return headerTooLarge(item.headerSize, MAX_HEADER_SIZE);
  try {
    const header = await readHeader(outgoing);
    const facts = await factsOf(item, splitHeader(header));
    const variables = variablesOf(facts);
    if (Buffer.byteLength(variables['SMTP2EXCHANGE_TO'] ?? '') > MAX_VARIABLE) return tooManyRecipients();
    await journal?.write(RUNNING);
    const ended = await run({
      command: options.command,
      folder: options.folder,
      environment: { ...options.environment, ...variables },
      input: replaceHeader(header, outgoing),
      timeout: options.timeout,
      killAfter: options.killAfter ?? 2_000,
      signal,
    });
    const status = statusOf(options, ended);
    // After that, a crash before the next run leaves no doubt.
    if (status.outcome === 'delayed') await journal?.write(ENDED);
    return status;
  } catch (error) {
    if (error instanceof SpoolError || error instanceof SizeMismatch) return unreadable(error);
    throw error;
  }
}

async function verify({ command }: CommandOptions, { journal }: Outgoing): Promise<Verification> {
  const step = journal === undefined ? RUNNING : await journal.last();
  if (step !== RUNNING) return { outcome: 'absent', certain: 'the program had not been started' };
  return {
    outcome: 'unknowable',
    reason: `${command[0]} was running when the gateway ended, and nobody can be asked what it came to`,
  };
}

function statusOf({ command: [program], timeout }: CommandOptions, { how, ended, error, said }: Ended): DeliveryStatus {
  if (how.kind === 'notStarted') return notStarted(program, how.code);
  // It took the message, whatever we were about to do: its input never ended for it before the message did.
  if (how.kind === 'exit' && how.code === 0) return meaningOfEnd(program, how, said);
  switch (ended) {
    case 'input':
      throw error;
    case 'timeout':
      return meaningOfEnd(program, { kind: 'timeout', after: timeout }, said);
    case 'stopping':
      return {
        outcome: 'unknown',
        code: '4.3.2',
        cause: 'ABORTED',
        text: 'The mail gateway is stopping',
        reason: `${program} had to be ended while it ran`,
      };
    case undefined:
      return meaningOfEnd(program, how, said);
    default:
      return unreachable(ended);
  }
}

/** A contract (docs/hand-over.md). */
export function variablesOf(facts: Facts): Record<string, string> {
  return {
    SMTP2EXCHANGE_ID: facts.id,
    SMTP2EXCHANGE_MESSAGE_ID: plain(facts.messageId),
    SMTP2EXCHANGE_FROM: plain(facts.from),
    SMTP2EXCHANGE_TO: facts.to.map(plain).join('\n'),
    SMTP2EXCHANGE_SUBJECT: plain(facts.subject),
    SMTP2EXCHANGE_DATE: facts.date ?? '',
    SMTP2EXCHANGE_RECEIVED_AT: facts.receivedAt,
    SMTP2EXCHANGE_MAILBOX: plain(facts.mailbox),
    SMTP2EXCHANGE_PICKUP: plain(facts.pickup),
    SMTP2EXCHANGE_SIZE: String(facts.size),
  };
}

function plain(text: string): string {
  return text.toWellFormed().replace(/\p{Cc}/gu, ' ');
}

function stopped(): Delayed {
  return cutShort('The program was not started');
}

function tooManyRecipients(): Failed {
  return {
    outcome: 'failed',
    code: '5.5.3',
    cause: 'too many recipients',
    text: 'The message has too many recipients',
    reason: `The recipients have more than ${MAX_VARIABLE} octets, which no variable of a program's environment holds`,
  };
}
