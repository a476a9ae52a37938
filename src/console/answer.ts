/** What the console is asked and what it answers, apart from sockets. Data, and how common answers are made. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Markup } from './markup.ts';

export interface Asked {
  /** Upper case. */
  readonly method: string;
  /** As it was sent, nothing decoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** IP address. */
  readonly peer: string;
  /** Came by TLS to this very port. */
  readonly isSecure: boolean;
  /** Undefined: longer than what is read. Rejects if the client goes away. */
  body(): Promise<string | undefined>;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Streamed;
  /** Lower case; they replace those that every answer has. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
}

export interface Streamed {
  /** In octets, if known. */
  readonly size?: number;
  readonly octets: AsyncIterable<Uint8Array>;
}

export const TEXT = 'text/plain; charset=utf-8';
export const HTML = 'text/html; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';

/** No script and no style but our own files, nothing from elsewhere, no frame around it. */
export const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "frame-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ');

export function page(markup: Markup, status = 200, headers: Answer['headers'] = {}): Answer {
  return {
    status,
    type: HTML,
    body: markup.toString(),
    // With no-referrer, browsers would say `Origin: null` of our own forms.
    headers: { 'content-security-policy': PAGE_POLICY, 'referrer-policy': 'same-origin', ...headers },
  };
}

/** Post/Redirect/Get: what is reloaded then is a page. */
export function seeOther(location: string, headers: Answer['headers'] = {}): Answer {
  return { status: 303, type: TEXT, body: `see ${location}\n`, headers: { location, ...headers } };
}

export function json(value: unknown, status = 200, headers: Answer['headers'] = {}): Answer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify(value)}\n`, headers };
}

export function sentence(status: number, text: string, headers: Answer['headers'] = {}): Answer {
  return { status, type: TEXT, body: `${text}\n`, headers };
}
