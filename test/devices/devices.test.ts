/**
 * What devices and programs really send, played line by line against the gateway, to the message that reaches Exchange.
 * `UPDATE_GOLDEN=1 npx vitest run test/devices` writes the golden files anew: then read every changed line.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faultsOf, render } from './golden.ts';
import { listenerName, listenersOf, play } from './player.ts';
import { readScript } from './script.ts';
import type { Site } from './site.ts';
import { openSite } from './site.ts';

const folder = import.meta.dirname;
const isUpdate = process.env['UPDATE_GOLDEN'] === '1';
const scripts = readdirSync(folder)
  .filter((file) => file.endsWith('.dialog'))
  .map((file) => readScript(basename(file, '.dialog'), readFileSync(join(folder, file), 'utf8')));

describe('devices', () => {
  let opened: Site | undefined;
  let accepted = 0;

  beforeAll(async () => {
    opened = await openSite(listenersOf(scripts));
  });
  afterAll(() => opened?.close());
  const site = (): Site => {
    if (opened === undefined) throw new Error('the site is not open');
    return opened;
  };

  it('are many', () => {
    expect(scripts.length).toBeGreaterThanOrEqual(25);
    const orphans = readdirSync(folder).filter(
      (file) => file.endsWith('.golden') && !existsSync(join(folder, file.replace(/golden$/, 'dialog'))),
    );
    expect(orphans).toEqual([]);
  });

  describe('one by one', { concurrent: true }, () => {
    it.each(scripts.map((script) => [script.name, script] as const))('%s', async (name, script) => {
      const { ids, attachments } = await play(script, site().port(listenerName(script.listener)));
      accepted += ids.length;
      const found = await Promise.all(ids.map((id) => site().outcome(id)));
      const text = render(found.map(({ outcome }) => outcome));
      const file = join(folder, `${name}.golden`);
      if (isUpdate) writeFileSync(file, text);
      expect(text).toBe(readFileSync(file, 'utf8'));
      for (const attachment of attachments) expect(text).toContain(attachment);
      expect(found.flatMap(({ outcome, envelope }) => faultsOf(outcome, envelope))).toEqual([]);
    });
  });

  it('get each message sent once, and no complaint of the gateway', () => {
    expect(site().arrived().length).toBe(accepted);
    expect(site().trouble()).toEqual([]);
  });
});
