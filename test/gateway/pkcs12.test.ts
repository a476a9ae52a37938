/** The real gateway with certificates of PKCS #12 files: the app's, with which it gets its tokens, and a listener's. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, expect, it, vi } from 'vitest';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import { folder, GatewayProcess } from './process.ts';

const APP = '66666666-7777-8888-9999-000000000000';
const [SENDER, READER] = ['notifications@contoso.com', 'alice@contoso.com'];
const at = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../tls/throw-away', name));

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function shownAt(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return new X509Certificate(raw).subject;
}

it('gets a token with the one, shows the other, and takes both anew on SIGHUP', async () => {
  const place = folder();
  const certificate = at('leaf.pem').toString();
  const sandbox = await startSandbox({
    mailboxes: [{ address: SENDER }, { address: READER }],
    apps: [{ clientId: APP, certificate, roles: ['full_access_as_app'] }],
  });
  const replace = (name: string, by: string): void =>
    renameSync(place.write(`${name}.new`, at(by)), join(place.path, name));
  replace('app.pfx', 'aes-256.pfx');
  replace('lan.pfx', 'rc2-3des.pfx');
  const text = `
hostname: gateway.test
listeners:
  - { name: lan, address: 127.0.0.1, port: 0 }
  - { name: smtps, address: 127.0.0.1, port: 0, tls: implicit, certificate: { pfxFile: lan.pfx, passphrase: throw-away } }
senders: { mailbox: ${SENDER} }
exchange:
  tenantId: ${sandbox.tenantId}
  clientId: ${APP}
  certificate: { pfxFile: app.pfx, passphrase: throw-away }
  ewsUrl: ${sandbox.ewsUrl}
  authority: ${sandbox.authority}
  caFile: ${place.write('ca.pem', sandbox.ca)}
console: { address: 127.0.0.1, port: 0 }
spool: { sqlite: ${place.path}/spool.db }
`;
  const gateway = new GatewayProcess(place.write('config.yaml', text));
  undo.push(
    () => place.remove(),
    () => sandbox.close(),
    () => gateway.stop('SIGKILL'),
  );
  const port = await gateway.ready();
  const open = await gateway.line((line) => line.event === 'listener.open' && line['listener'] === 'smtps');
  await gateway.event('token.acquired');
  await sendMail({ host: '127.0.0.1', port }, { from: SENDER, to: [READER], subject: 'one', text: 'x' });
  await vi.waitFor(() => expect(sandbox.mailbox(READER).inbox).toHaveLength(1), 15_000);
  expect(await shownAt(Number(open['port']))).toBe('CN=leaf');

  replace('app.pfx', 'rc2-3des.pfx');
  replace('lan.pfx', 'curve.pfx');
  gateway.child.kill('SIGHUP');
  expect(await gateway.event('credential.loaded')).toMatchObject({ account: 'exchange' });
  await gateway.line((line) => line.event === 'certificate.loaded' && line['subject'] === 'CN=curve');
  expect(await shownAt(Number(open['port']))).toBe('CN=curve');

  replace('app.pfx', 'curve.pfx');
  gateway.child.kill('SIGHUP');
  expect(await gateway.event('credential.failed')).toMatchObject({
    reason: expect.stringMatching(
      /^exchange\.certificate\.pfxFile holds a key of type ec; Entra ID takes RSA keys only/,
    ),
  });
  expect(gateway.noise).toEqual([]);
  expect(JSON.stringify(gateway.lines)).not.toContain('throw-away');
}, 40_000);
