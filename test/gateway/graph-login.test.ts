/** The ways to get a token, on the way to Graph: the real process, a token for Graph's audience and no other. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const SENDER = 'notifications@contoso.com';
const READER = 'alice@contoso.com';
const MACHINE = '11111111-aaaa-4000-8000-000000000001';
const FEDERATED = '11111111-aaaa-4000-8000-000000000002';
const roles = ['Mail.Send', 'Mail.ReadWrite'];
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const issuer = 'https://kubernetes.test';
const subject = 'system:serviceaccount:mail:gateway';

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess | undefined;

beforeEach(async () => {
  place = folder();
  const key = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  sandbox = await startSandbox({
    mailboxes: [{ address: SENDER }, { address: READER }],
    apps: [
      { clientId: MACHINE, managed: 'system', roles },
      { clientId: FEDERATED, federation: { issuer, subject, publicKey: key }, roles },
    ],
  });
});
afterEach(async () => {
  await gateway?.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

/** @param login settings in place of tenant, application and secret */
async function start(login: string, environment: Record<string, string> = {}): Promise<number> {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  transport: graph\n  graphUrl: ${sandbox.graphUrl}`,
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  }).replace(/ {2}tenantId: .*\n {2}clientId: .*\n {2}clientSecret: .*\n/, login);
  gateway = new GatewayProcess(place.write('config.yaml', text), environment);
  return gateway.ready();
}

async function send(port: number, subjectLine: string): Promise<void> {
  await sendMail({ host: '127.0.0.1', port }, { from: SENDER, to: [READER], subject: subjectLine, text: 'x' });
}

const arrived = (count: number): Promise<void> =>
  vi.waitFor(() => expect(sandbox.mailbox(READER).inbox).toHaveLength(count), 15_000);

it('a managed identity', async () => {
  const port = await start('  managedIdentity: system\n', {
    AZURE_POD_IDENTITY_AUTHORITY_HOST: sandbox.identity.origin,
  });
  await send(port, 'one');
  await arrived(1);
  expect(sandbox.identity.requests).toMatchObject({ managed: 1, token: 0 });
});

it('a workload identity', async () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, sub: subject, aud: 'api://AzureADTokenExchange', iat: now, nbf: now, exp: now + 600 };
  const signed = [{ alg: 'RS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  place.write('token', `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}\n`);
  const port = await start(
    `  tenantId: ${sandbox.tenantId}\n  clientId: ${FEDERATED}\n  workloadIdentity: { tokenFile: token }\n`,
  );
  await send(port, 'one');
  await arrived(1);
});

it('a client secret that is replaced, after SIGHUP', async () => {
  place.write('secret', 'of~yesterday\n');
  const port = await start(
    `  tenantId: ${sandbox.tenantId}\n  clientId: ${sandbox.clientId}\n  clientSecretFile: secret\n`,
  );
  await gateway?.event('token.failed');
  renameSync(place.write('secret.new', `${sandbox.clientSecret}\n`), join(place.path, 'secret'));
  gateway?.child.kill('SIGHUP');
  await gateway?.event('credential.loaded');
  await send(port, 'one');
  await arrived(1);
  expect(JSON.stringify(gateway?.lines)).not.toContain('of~yesterday');
});
