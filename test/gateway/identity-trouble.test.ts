/**
 * The identity server in every kind of trouble while mail flows, from outside: nothing is lost or told twice, never more
 * than one request for a token is under way, and the log says in plain words what to do.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { IdentityFault } from '../../src/sandbox/identity.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDERS = ['a@contoso.com', 'b@contoso.com', 'c@contoso.com', 'd@contoso.com'];
const READER = 'reader@contoso.com';

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [...SENDERS, READER].map((address) => ({ address })) });
  // Each token is good for one round of mail.
  sandbox.identity.lifetime = 1;
});
afterEach(async () => {
  await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

interface Trouble {
  readonly fault: IdentityFault;
  readonly cause: string;
  readonly says: RegExp;
}

const troubles: readonly Trouble[] = [
  { fault: { aadsts: 7000222 }, cause: 'AADSTS7000222', says: /client secret has expired/ },
  { fault: { aadsts: 7000215 }, cause: 'AADSTS7000215', says: /Value/ },
  { fault: { aadsts: 700016 }, cause: 'AADSTS700016', says: /[Cc]lient id/ },
  { fault: { aadsts: 90002 }, cause: 'AADSTS90002', says: /[Tt]enant/ },
  { fault: { aadsts: 700027 }, cause: 'AADSTS700027', says: /uploaded/ },
  // The clocks of both sides differ too much for an assertion.
  { fault: { aadsts: 700024 }, cause: 'AADSTS700024', says: /clock/ },
  { fault: { aadsts: 53003 }, cause: 'AADSTS53003', says: /IP address/ },
  { fault: { aadsts: 90033 }, cause: 'AADSTS90033', says: /asked again/ },
  { fault: { status: 429, retryAfter: 1, body: '' }, cause: 'HTTP 429', says: /Nothing to do/ },
  { fault: { status: 503, body: 'down' }, cause: 'HTTP 503', says: /Nothing to do/ },
  { fault: { body: '<html>login here</html>' }, cause: 'HTTP 200', says: /not a token/ },
  { fault: { body: '{"access_token":', contentType: 'application/json' }, cause: 'HTTP 200', says: /not a token/ },
  // Waited for, while the present token is good and after it has ended.
  { fault: { delayMs: 1_500, status: 503, body: '' }, cause: 'HTTP 503', says: /Nothing to do/ },
  { fault: { cut: true }, cause: 'UND_ERR_SOCKET', says: /closed the connection/ },
];

it('loses no mail, makes no storm, and says what to do', { timeout: 120_000 }, async () => {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    senders: `{ mailbox: ${SENDERS[0]}, rules: [${SENDERS.map((mailbox) => `{ from: ${mailbox}, mailbox: ${mailbox} }`).join(', ')}] }`,
    more: `pacing: { perMailbox: { perMinute: unlimited } }\nspool: { sqlite: ${place.path}/spool.db }`,
  });
  gateway = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  const smtp = await RawSmtp.open(await gateway.ready());
  let sent = 0;
  const send = async (): Promise<void> => {
    for (const sender of SENDERS)
      await smtp.send(
        sender,
        [READER],
        `From: ${sender}\r\nTo: ${READER}\r\nMessage-ID: <${sent++}@test>\r\n\r\nx\r\n`,
      );
  };
  const arrived = (): number => sandbox.mailbox(READER).inbox.length;
  // SIGHUP: an operator says that it is mended; what passes by itself needs no word, and takes none amiss.
  for (const { fault, cause, says } of troubles) {
    const of = (name: string): readonly Record<string, unknown>[] =>
      gateway.lines.filter(({ event }) => event === name);
    const [failed, acquired] = [of('token.failed').length, of('token.acquired').length];
    sandbox.identity.faults.push(fault);
    await vi.waitUntil(
      async () => {
        gateway.child.kill('SIGHUP');
        await send();
        return of('token.failed').length > failed;
      },
      { timeout: 20_000, interval: 200 },
    );
    expect(of('token.failed')[failed]).toMatchObject({ cause, advice: expect.stringMatching(says) as unknown });
    await vi.waitUntil(
      async () => {
        gateway.child.kill('SIGHUP');
        await send();
        return of('token.acquired').length > acquired;
      },
      { timeout: 20_000, interval: 500 },
    );
  }
  smtp.end();
  await vi.waitUntil(
    () => {
      gateway.child.kill('SIGHUP');
      return arrived() >= sent;
    },
    { timeout: 20_000, interval: 500 },
  );
  const ids = sandbox.mailbox(READER).inbox.map(({ messageId }) => messageId);
  expect([ids.length, new Set(ids).size]).toEqual([sent, sent]);
  expect(sandbox.identity.mostAtOnce).toBe(1);
  // One for each fault and each life of a token, not one for each message that waited.
  expect(sandbox.identity.requests.token).toBeLessThan(sent);
  expect(JSON.stringify(gateway.lines)).not.toMatch(/eyJ[\w-]{20}/);
});
