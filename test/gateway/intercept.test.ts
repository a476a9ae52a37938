/** A proxy of a company that looks into TLS: with its authority configured mail passes, without it the log says what it showed. */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import type { Certificate } from '../../src/sandbox/certificate.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDER = 'notifications@contoso.com';
let place: Folder;
let sandbox: Sandbox;
let proxy: Server;
let authority: Certificate;
let gateway: GatewayProcess;
let tunnels: string[];
const sockets = new Set<Socket>();

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [{ address: SENDER }] });
  authority = await createCertificate();
  tunnels = [];
  proxy = createServer();
  proxy.on('connect', (request, client: Socket) => {
    const target = new URL(`tcp://${request.url}`);
    tunnels.push(target.host);
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    const shown = new TLSSocket(client, { isServer: true, cert: authority.cert, key: authority.key });
    const real = connectTls({ host: target.hostname, port: Number(target.port), ca: sandbox.ca });
    for (const socket of [client, shown, real]) {
      sockets.add(socket);
      socket.on('error', () => {
        shown.destroy();
        real.destroy();
      });
    }
    shown.pipe(real);
    real.pipe(shown);
  });
  await new Promise<void>((ready) => proxy.listen(0, '127.0.0.1', ready));
});
afterEach(async () => {
  await gateway.stop('SIGKILL');
  for (const socket of sockets) socket.destroy();
  await new Promise((done) => proxy.close(done));
  await sandbox.close();
  place.remove();
});

async function start(ca: string, transport: string): Promise<void> {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', ca),
    exchange: `  transport: ${transport}\n  graphUrl: ${sandbox.graphUrl}\n  proxy: http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  });
  gateway = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  const smtp = await RawSmtp.open(await gateway.ready());
  await smtp.send(SENDER, [SENDER], `From: ${SENDER}\r\nTo: ${SENDER}\r\nMessage-ID: <1@test>\r\n\r\nx\r\n`);
  smtp.end();
}

it.each(['ews', 'graph'])('with its authority configured, mail passes (%s)', async (transport) => {
  await start(authority.ca, transport);
  await vi.waitUntil(() => sandbox.mailbox(SENDER).inbox.length === 1, { timeout: 15_000 });
  expect(new Set(tunnels)).toEqual(new Set([new URL(sandbox.origin).host, new URL(sandbox.authority).host]));
});

it.each(['ews', 'graph'])(
  'without it, the log says which certificate it showed and what to set (%s)',
  async (transport) => {
    await start(sandbox.ca, transport);
    const failed = await gateway.event('token.failed');
    expect(failed['misconfigured']).toBe(true);
    expect(failed['advice']).toMatch(/certificate/);
    expect(failed['advice']).toMatch(/issued by "?smtp2exchange sandbox CA \w+/);
    expect(failed['advice']).toContain('caFile');
    expect((await gateway.event('route.held'))['reason']).toContain('caFile');
    expect(sandbox.arrived()).toEqual([]);
  },
);
