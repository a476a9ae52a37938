/**
 * A SOAP request as it comes in: read chunk by chunk, made out as early as it can be, judged by Exchange's schema when it is
 * whole. What is wrong with it is a sentence, never a throw; a client that goes away in its upload rejects.
 */
import type { IncomingMessage } from 'node:http';
import { MESSAGES, schemaFault, SOAP, TYPES } from './schema.ts';
import type { XmlElement } from './xml.ts';
import { child, readXml } from './xml.ts';

/** What can be known of a request before its end. */
export interface Beginning {
  /** Local name of the operation; '': not made out. */
  readonly operation: string;
  /** '': nobody. */
  readonly impersonated: string;
  /** Child of ConnectingSID that named the impersonated one. */
  readonly namedBy: string;
}

export interface Request extends Beginning {
  /** The operation's element, or what Exchange's schema has against the request. */
  readonly judged: XmlElement | string;
}

/** Where no operation shows within so many octets, none is waited for. */
const BEGINNING_LIMIT = 64 * 1024;

/** @param isCut asked once, as soon as the operation shows, whether the connection is to be cut there */
export async function readBody(
  request: IncomingMessage,
  limit: number,
  isCut: (beginning: Beginning) => boolean,
): Promise<Buffer | 'cut' | 'too large'> {
  const chunks: Buffer[] = [];
  let size = 0;
  let wasAsked = false;
  const ask = (): boolean => {
    wasAsked = true;
    return isCut(beginningOf(textOf(Buffer.concat(chunks), false)));
  };
  // Left early, the iterator would cut the connection and the refusal with it.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return 'too large';
    chunks.push(chunk);
    if (wasAsked) continue;
    const shows = size > BEGINNING_LIMIT || beginningOf(textOf(Buffer.concat(chunks), false)).operation !== '';
    if (shows && ask()) return 'cut';
  }
  return !wasAsked && ask() ? 'cut' : Buffer.concat(chunks);
}

export function readRequest(body: Buffer): Request {
  const root = textOf(body, true);
  return { ...beginningOf(root), judged: judge(root) };
}

function textOf(octets: Buffer, isWhole: boolean): XmlElement | string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(octets, { stream: !isWhole });
  } catch {
    return 'it is not in UTF-8';
  }
  return readXml(text, isWhole);
}

function beginningOf(root: XmlElement | string): Beginning {
  if (typeof root === 'string') return { operation: '', impersonated: '', namedBy: '' };
  const sid = child(child(child(root, 'Header'), 'ExchangeImpersonation'), 'ConnectingSID')?.children[0];
  return {
    operation: child(root, 'Body')?.children[0]?.name ?? '',
    impersonated: sid?.text.trim() ?? '',
    namedBy: sid?.name ?? '',
  };
}

function judge(root: XmlElement | string): XmlElement | string {
  if (typeof root === 'string') return `The request is not well-formed XML: ${root}`;
  if (root.name !== 'Envelope' || root.namespace !== SOAP) return 'The request is no SOAP 1.1 envelope.';
  const parts = root.children.map(({ name, namespace }) => (namespace === SOAP ? name : `${namespace} ${name}`));
  if (!/^(Header )?Body$/.test(parts.join(' '))) return 'The envelope is not made of a Header and a Body.';
  for (const header of child(root, 'Header')?.children ?? []) {
    if (header.namespace !== TYPES) return `The header '${header.name}' is unknown.`;
    const fault = schemaFault(header);
    if (fault !== undefined) return fault;
  }
  const [operation, ...more] = child(root, 'Body')?.children ?? [];
  if (!operation || more.length > 0 || operation.namespace !== MESSAGES) return 'The body is not one operation.';
  return schemaFault(operation) ?? operation;
}
