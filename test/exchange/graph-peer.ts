/** A Graph that answers as a test has written it down, in front of the mailbox that picks up. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createHttp } from '../../src/exchange/http.ts';
import { graphMailbox } from '../../src/exchange/mailbox-graph.ts';
import type { PickupMailbox } from '../../src/exchange/mailbox.ts';

export interface Asked {
  readonly method: string;
  /** Below the mailbox, decoded; or the whole path where it is not below it. */
  readonly path: string;
  readonly prefer: string | undefined;
  readonly body: string;
}

export type Reply =
  | { readonly status: number; readonly json?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | ((response: ServerResponse, request: IncomingMessage) => void);

export interface GraphPeer {
  /** Of Graph, as it is configured. */
  readonly url: string;
  readonly mailbox: PickupMailbox;
  readonly asked: Asked[];
  /** Requests at the same time, at most. */
  most(): number;
  answer(with_: (asked: Asked) => Reply | Promise<Reply>): void;
  close(): Promise<void>;
}

export const MAILBOX = 'fax+1@contoso.test';

export function fault(status: number, code: string): Reply {
  return { status, json: { error: { code, message: 'as the test has it' } } };
}

export async function openPeer(): Promise<GraphPeer> {
  const asked: Asked[] = [];
  let reply: (asked: Asked) => Reply | Promise<Reply> = () => fault(400, 'BadRequest');
  let running = 0;
  let most = 0;
  const server = createServer((request, response) => {
    most = Math.max(most, ++running);
    response.once('close', () => running--);
    void bodyOf(request).then(async (body) => {
      const whole = decodeURIComponent(request.url ?? '');
      const below = `/v1.0/users/${MAILBOX}`;
      const path = whole.startsWith(below) ? whole.slice(below.length) : whole;
      const prefer = request.headers['prefer'] as string | undefined;
      const one = { method: request.method ?? '', path, prefer, body };
      asked.push(one);
      const given = await reply(one);
      if (typeof given === 'function') return given(response, request);
      response.writeHead(given.status, { 'content-type': 'application/json', ...given.headers });
      response.end(given.json === undefined ? '' : JSON.stringify(given.json));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1.0`;
  const http = createHttp({ headersTimeout: 2_000, bodyTimeout: 2_000 });
  const token = {
    get: async () => await Promise.resolve({ ok: true as const, token: 't', expiresAt: Number.MAX_SAFE_INTEGER }),
    refuse: () => {},
    state: () => ({ state: 'valid' as const }),
    close: async () => {},
  };
  const authorizer = bearer({ http, token: token as unknown as Parameters<typeof bearer>[0]['token'] });
  return {
    url,
    mailbox: graphMailbox({ graph: { url, http, authorizer, version: '1' }, mailbox: MAILBOX }),
    asked,
    most: () => most,
    answer(with_) {
      reply = with_;
      asked.length = 0;
      most = 0;
    },
    async close() {
      await http.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}
