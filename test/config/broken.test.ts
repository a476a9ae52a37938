/**
 * Broken configurations, each with the lines it must print. After a wanted change of a sentence: `npx vitest run
 * test/config -u`, and read the difference.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, renderFaults } from '../../src/config/load.ts';
import { makePems, MARK, place } from './place.ts';

const folder = join(import.meta.dirname, 'broken');
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.replace(/\.yaml$/, ''));

const environment = { SECRET: `${MARK}~first`, EMPTY: '', WORD: `${MARK}-word` };
const here = place();

function damaged(pem: string): string {
  return pem.replace(/(-----\r?\n[\s\S]{200})[\s\S]*?(\n-----END)/, '$1$2');
}

beforeAll(async () => {
  const pems = await makePems();
  here.write('files/cert.pem', pems.cert);
  here.write('files/key.pem', pems.key);
  here.write('files/other-key.pem', pems.otherKey);
  here.write('files/ec-cert.pem', pems.ecCert);
  here.write('files/ec-key.pem', pems.ecKey);
  here.write('files/encrypted-key.pem', pems.encryptedKey);
  here.write('files/passphrase', `${pems.passphrase}\n`);
  here.write('files/damaged-cert.pem', damaged(pems.cert));
  here.write('files/damaged-key.pem', damaged(pems.key));
  for (const name of ['curve.pfx', 'without-key.pfx'])
    here.write(`files/${name}`, readFileSync(join(import.meta.dirname, '../tls/throw-away', name)));
  here.write('files/empty', '');
  here.write('files/secret', `${MARK}\n`);
  here.write('files/two-lines', `${MARK}\n${MARK}\n`);
});

async function faultsOf(name: string): Promise<string> {
  const file = here.write(`${name}.yaml`, readFileSync(join(folder, `${name}.yaml`)));
  const loaded = await loadConfig(file, environment, 'gateway.test');
  if ('config' in loaded) return 'no fault';
  const faults = loaded.faults.map((fault) => ({ ...fault, file: 'config.yaml' }));
  return `${renderFaults(faults).replaceAll(here.folder, '<folder>')}\n`;
}

describe('a broken configuration', () => {
  it('is here in many forms', () => {
    const expectations = readdirSync(folder).filter((name) => name.endsWith('.txt'));
    expect(names.length).toBeGreaterThanOrEqual(25);
    expect(expectations.map((name) => name.replace(/\.txt$/, ''))).toEqual(names);
  });

  it.each(names)('%s: each fault with its line, and no value', async (name) => {
    const faults = await faultsOf(name);
    expect(faults).not.toBe('no fault');
    expect(faults).not.toContain(MARK);
    await expect(faults).toMatchFileSnapshot(join(folder, `${name}.txt`));
  });
});
