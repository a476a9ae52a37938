/** The transport of Graph in front of the sandbox's, over HTTPS, with a real token. */
import { bearer } from '../../src/exchange/authorizer.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { GraphOptions } from '../../src/exchange/graph-call.ts';
import { graphTransport } from '../../src/exchange/graph.ts';
import type { GraphTransportOptions } from '../../src/exchange/graph.ts';
import { tokenOf } from './sandbox-token.ts';
import type { Transport } from '../../src/mail/transport.ts';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { SENDER } from './sandbox-site.ts';

export interface GraphSite {
  readonly sandbox: Sandbox;
  readonly transport: Transport;
  /** For other users of the same connections. */
  readonly graph: GraphOptions;
  /** Another transport on the same connections. */
  also(options: Partial<GraphTransportOptions>): Transport;
  /** How often each fault was met, in order of their setting. */
  hits(): Promise<readonly number[]>;
  /** For calls of the test's own. */
  call(method: string, path: string, body?: string, headers?: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly json: Record<string, unknown>;
}

export async function openGraphSite(
  people: readonly string[],
  options: Partial<SandboxOptions> = {},
): Promise<GraphSite> {
  const sandbox = await startSandbox({
    mailboxes: [SENDER, ...people].map((address) => ({ address, maxSendSize: 150 * 1024 * 1024 })),
    ...options,
  });
  const http = createHttp({ ca: sandbox.ca });
  const token = tokenOf(sandbox, http, 'graph');
  const graph = { url: sandbox.graphUrl, http, authorizer: bearer({ http, token }), version: '1' };
  const also = (more: Partial<GraphTransportOptions>): Transport =>
    graphTransport({ graph, saveToSentItems: true, carryHeaders: ['X-Tag'], pauseFrom: 1, ...more });
  return {
    sandbox,
    transport: also({}),
    graph,
    also,
    async hits() {
      const response = await http.request({ method: 'GET', url: `${sandbox.origin}/control/faults`, headers: {} });
      return (JSON.parse(await response.text(100_000)) as { hit: number }[]).map(({ hit }) => hit);
    },
    async call(method, path, body, headers = {}) {
      const given = await token.get();
      if (!given.ok) throw new Error(given.advice);
      const response = await http.request({
        method,
        url: `${sandbox.graphUrl}/users/${SENDER}${path}`,
        headers: { authorization: `Bearer ${given.token}`, 'content-type': 'application/json', ...headers },
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.text(1_000_000);
      const json = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
      return { status: response.status, headers: response.headers, json };
    },
    async close() {
      await token.close();
      await http.close();
      await sandbox.close();
    },
  };
}
