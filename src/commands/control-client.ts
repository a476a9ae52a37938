/**
 * The other end of the control door: what an operator can do, done by the running gateway. Never waits for ever, but for
 * a check, which takes as long as the disk needs.
 *
 * Throws Unreachable if nobody is there, CommandFault for what the user has to know.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request } from 'node:http';
import type { Body, Operations, Outcome, Story } from '../console/operations.ts';
import type { Greeting } from '../console/wire.ts';
import { queryOf } from '../console/wire.ts';
import type { QueueItem } from '../mail/item.ts';
import type { CheckResult } from '../mail/spool.ts';
import { CommandFault, EXIT } from './outcome.ts';

/** Nobody listens at the door, or there is none. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

/** Milliseconds that an answer may take; a spool that is busy or in trouble takes its time. */
const ANSWER_TIMEOUT = 60_000;
/** Octets of an answer: a page of items with a thousand recipients each has room. */
const ANSWER_LIMIT = 256 * 1024 * 1024;

export interface ControlClient extends Operations {
  greet(): Promise<Greeting>;
}

export function controlClient(where: string): ControlClient {
  const ask = async <T>(method: 'GET' | 'POST', path: string, body?: unknown, timeout = ANSWER_TIMEOUT): Promise<T> => {
    const response = await call(where, method, path, body, timeout);
    const text = await textOf(response, where);
    if (response.statusCode !== 200) throw refusal(text, where);
    return JSON.parse(text) as T;
  };
  return {
    greet: () => ask<Greeting>('GET', '/v1'),
    list: async (filter) =>
      (await ask<{ items: readonly QueueItem[] }>('GET', `/v1/items?${queryOf(filter).toString()}`)).items,
    async show(id) {
      const response = await call(where, 'GET', `/v1/items/${encodeURIComponent(id)}`);
      const text = await textOf(response, where);
      if (response.statusCode === 404) return undefined;
      if (response.statusCode !== 200) throw refusal(text, where);
      return JSON.parse(text) as Story;
    },
    read: (id, by) => read(where, id, by),
    act: async (order) => (await ask<{ outcomes: readonly Outcome[] }>('POST', '/v1/acts', order)).outcomes,
    check: () => ask<CheckResult>('POST', '/v1/check', {}, 0),
  };
}

async function read(where: string, id: string, by: string): Promise<Body | 'absent' | 'gone'> {
  const path = `/v1/items/${encodeURIComponent(id)}/message?${new URLSearchParams({ by }).toString()}`;
  const response = await call(where, 'GET', path);
  if (response.statusCode === 200) {
    return { size: Number(response.headers['content-length']), octets: response as AsyncIterable<Uint8Array> };
  }
  const text = await textOf(response, where);
  if (response.statusCode === 404) return 'absent';
  if (response.statusCode === 410) return 'gone';
  throw refusal(text, where);
}

/** @param timeout milliseconds without a sign of life, 0: any */
async function call(
  where: string,
  method: string,
  path: string,
  body?: unknown,
  timeout = ANSWER_TIMEOUT,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const text = body === undefined ? '' : JSON.stringify(body);
  const asked: ClientRequest = request(
    {
      socketPath: where,
      method,
      path,
      agent: false,
      headers: { host: 'control', ...(text === '' ? {} : { 'content-type': 'application/json' }) },
    },
    resolve,
  );
  asked.setTimeout(timeout, () => asked.destroy(new Error(`it did not answer within ${timeout / 1000} s`)));
  asked.on('error', (error) => reject(faultOf(error, where)));
  asked.end(text);
  return promise;
}

function faultOf(error: Error, where: string): Error {
  const code = 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
    case 'ENOTDIR':
    // A path that is too long for a socket has no door.
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return new Unreachable(`Nobody listens at ${where}`, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return new CommandFault(
        EXIT.temporary,
        `The gateway's socket ${where} may be opened by the gateway's own user only (${code}). Run this command as that user, for example with sudo -u USER`,
        { cause: error },
      );
    default:
      return new CommandFault(EXIT.temporary, `The gateway at ${where} cannot be asked: ${error.message}`, {
        cause: error,
      });
  }
}

async function textOf(response: IncomingMessage, where: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > ANSWER_LIMIT) throw new Error('its answer is too long');
      chunks.push(chunk);
    }
  } catch (error) {
    throw faultOf(error instanceof Error ? error : new Error(String(error)), where);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function refusal(text: string, where: string): CommandFault {
  let error: unknown;
  try {
    ({ error } = JSON.parse(text) as { error?: unknown });
  } catch {
    // Not ours: the sentence below says so.
  }
  return typeof error === 'string'
    ? new CommandFault(EXIT.temporary, `The gateway says: ${error}`)
    : new CommandFault(EXIT.temporary, `What answers at ${where} is no gateway that this version knows`);
}
