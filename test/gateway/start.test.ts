/** A start that cannot succeed: one clear message, the right exit code, no stack trace. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Folder } from './process.ts';
import { folder, GatewayProcess, root } from './process.ts';

let place: Folder;
beforeEach(() => {
  place = folder();
});
afterEach(() => {
  place.remove();
});

const config = (changes: { port?: number; spool?: string } = {}): string => `
listeners: [{ name: lan, address: 127.0.0.1, port: ${changes.port ?? 0}, tls: none }]
senders: { mailbox: notifications@contoso.com }
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: secret
  ewsUrl: https://127.0.0.1:9/EWS/Exchange.asmx
  authority: https://127.0.0.1:9/tenant
spool: { sqlite: ${changes.spool ?? join(place.path, 'spool.db')} }
console: { address: 127.0.0.1, port: 0 }
`;

async function ends(text: string): Promise<{ code: number | null; message: string }> {
  const process = new GatewayProcess(place.write('config.yaml', text));
  const { code } = await process.exited;
  const message = process.errors.join('\n');
  expect(message).not.toMatch(/^\s+at /m);
  expect(process.noise).toEqual([]);
  return { code, message };
}

it('with a broken configuration: every fault, 78, before any socket', async () => {
  const { code, message } = await ends(
    config().replace('name: lan', 'nmae: lan').replace('port: 0, tls', 'port: 70000, tls'),
  );
  expect(code).toBe(78);
  expect(message).toMatch(/config\.yaml:2:\d+: listeners\[0\]\.nmae: /);
  expect(message).toMatch(/config\.yaml:2:\d+: listeners\[0\]\.port: /);
});

it('without the configuration file: 78 and its name', () => {
  const ended = spawnSync(
    process.execPath,
    [join(root, 'src/main.ts'), 'run', '--config', join(place.path, 'absent.yaml')],
    { encoding: 'utf8' },
  );
  expect(ended.status).toBe(78);
  expect(ended.stderr).toContain('absent.yaml');
  expect(ended.stderr).not.toMatch(/^\s+at /m);
});

it('with the port in use: 75, naming listener and port', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const { code, message } = await ends(config({ port }));
  other.close();
  expect(code).toBe(75);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain('lan');
  expect(message).toContain(String(port));
});

it.each([
  [
    'Listener "lan"',
    (text: string) => text.replace('address: 127.0.0.1, port: 0, tls', 'address: "fe80::1", port: 0, tls'),
  ],
  ['The console', (text: string) => text.replace('console: { address: 127.0.0.1', 'console: { address: "fe80::1"')],
])('with an address that the system opens no port on: 78: %s', async (who, changed) => {
  const { code, message } = await ends(changed(config()));
  expect(code).toBe(78);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain(who);
  expect(message).toContain('fe80::1');
});

it('with a data folder that cannot be made: 78, naming it', async () => {
  // Root may write everywhere, so a file stands where the folder should be.
  writeFileSync(join(place.path, 'data'), '');
  const { code, message } = await ends(config({ spool: join(place.path, 'data/spool.db') }));
  expect(code).toBe(78);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain(join(place.path, 'data'));
});

it.each(
  process.platform === 'linux' ? ['/proc/none/spool.db', '/dev/null/data/spool.db'] : ['/dev/null/data/spool.db'],
)('with a data folder that the system lets nobody make: 78, at once: %s', async (spool) => {
  const { code, message } = await ends(config({ spool }));
  expect(code).toBe(78);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain(dirname(spool));
});

it('with a data folder that may not be written: 78, naming it', async () => {
  // Root may write everywhere but in what the kernel keeps.
  const isRoot = process.getuid?.() === 0;
  const data = isRoot ? '/sys' : join(place.path, 'data');
  if (!isRoot) {
    mkdirSync(data);
    chmodSync(data, 0o500);
  }
  const { code, message } = await ends(config({ spool: join(data, 'spool.db') }));
  expect(code).toBe(78);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain(data);
});

it('with a folder where the spool should be: 78, in plain words', async () => {
  const { code, message } = await ends(config({ spool: place.path }));
  expect(code).toBe(78);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain(`${place.path} is a folder`);
});

it('with a damaged spool file: 1, naming it, and the file is left as it is', async () => {
  const spool = place.write('spool.db', 'this is no database at all, '.repeat(400));
  const { code, message } = await ends(config({ spool }));
  expect(code).toBe(1);
  expect(message.split('\n').length).toBe(1);
  expect(message).toContain(spool);
});

it('while another gateway has the spool: 75, naming it', async () => {
  const first = new GatewayProcess(place.write('first.yaml', config()));
  await first.ready();
  const { code, message } = await ends(config());
  expect(code).toBe(75);
  expect(message).toContain('spool.db');
  expect((await first.stop()).code).toBe(0);
});

it('with a command that does not exist, or an option: 64', () => {
  for (const words of [['fly'], ['run', '--colour', 'red'], ['demo', 'now']]) {
    const ended = spawnSync(process.execPath, [join(root, 'src/main.ts'), ...words], { encoding: 'utf8' });
    expect([words, ended.status]).toEqual([words, 64]);
    expect(ended.stderr).not.toMatch(/^\s+at /m);
  }
});
