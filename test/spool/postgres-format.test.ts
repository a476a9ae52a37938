/** Versions of the tables: made-up next formats show what a rolling upgrade can do, and what it refuses. */
import { describe, expect, it, vi } from 'vitest';
import type { SpoolError } from '../../src/mail/spool.ts';
import { FORMAT } from '../../src/spool/postgres-opening.ts';
import type { Format } from '../../src/spool/postgres-opening.ts';
import { claiming, idOf, lane, testBed } from './postgres-gateways.ts';
import { withoutPostgres } from './postgres-server.ts';
import { put, relayed } from './spool-under-test.ts';

const NOW = FORMAT.version;

/** The next format, which adds a column: programs of this one go on. */
const ADDED: Format = {
  ...FORMAT,
  version: NOW + 1,
  migrations: {
    ...FORMAT.migrations,
    [NOW]: { sql: 'ALTER TABLE item ADD COLUMN colour text; ALTER TABLE known ADD COLUMN note text', oldest: NOW },
  },
};
/** The one after it, with which they could not. */
const BROKEN: Format = {
  ...ADDED,
  version: NOW + 2,
  oldest: NOW + 2,
  migrations: {
    ...ADDED.migrations,
    [NOW + 1]: { sql: 'ALTER TABLE item RENAME COLUMN header_size TO head', oldest: NOW + 2 },
  },
};

describe.skipIf(withoutPostgres())('the format of the tables', () => {
  const bed = testBed();

  const formatNow = async (): Promise<unknown> =>
    (await bed.cluster.sql('SELECT version, oldest FROM smtp2exchange.format'))[0];

  it('is made once, however many gateways start at the same time', async () => {
    const gateways = await Promise.all(Array.from({ length: 4 }, () => bed.cluster.gateway()));
    expect(await formatNow()).toEqual({ version: NOW, oldest: FORMAT.oldest });
    expect(await gateways[0]?.cluster.members()).toHaveLength(4);
    const [first, ...others] = gateways.map(({ told }) => told('spool.open')[0]?.spool);
    expect(first).toMatch(/^test_\w+-[0-9a-f]{8}$/);
    expect(new Set(others)).toEqual(new Set([first]));
  });

  it('that only adds something leaves older gateways at work, and lets them start again', async () => {
    const old = await bed.cluster.gateway({ host: 'old' });
    const waiting = idOf(await put(old.spool));
    await old.spool.claim(lane, { ...claiming, limit: 0 });
    const young = await bed.cluster.gateway({ host: 'young', format: ADDED });
    expect(await formatNow()).toEqual({ version: NOW + 1, oldest: NOW });
    // With statements that it had prepared before.
    await put(old.spool);
    const gate = () => ({ limit: 1, after: () => ({ lane: 1 }) });
    expect((await old.spool.claim(lane, { ...claiming, limit: 1, gate })).map(({ id }) => id)).toEqual([waiting]);
    await old.spool.finish(waiting, relayed);
    expect((await young.spool.claim(lane, claiming)).length).toBe(1);
    await old.spool.close();
    const again = await bed.cluster.gateway({ host: 'old' });
    await put(again.spool);
    expect(await again.cluster.members()).toHaveLength(2);
    for (const { told } of [old, young, again]) expect(told('spool.trouble')).toEqual([]);
  });

  it('that older gateways could not work with waits for their end, and names them', async () => {
    const old = await bed.cluster.gateway({ host: 'mail-1', version: '1.0' });
    await bed.cluster.gateway({ host: 'mail-3', version: '1.1', format: ADDED });
    await expect(bed.cluster.gateway({ host: 'mail-2', format: BROKEN })).rejects.toMatchObject({
      name: 'SpoolError',
      message: expect.stringMatching(/mail-1 \(version 1\.0\), mail-3 \(version 1\.1\).*Stop them/) as string,
    });
    expect(await formatNow()).toEqual({ version: NOW + 1, oldest: NOW });
    await put(old.spool);
    await old.spool.close();
    await expect(bed.cluster.gateway({ format: BROKEN })).rejects.toThrow(/mail-3/);
    // One that is not heard of any more does not stand in the way.
    await bed.cluster.sql('UPDATE smtp2exchange.member SET seen = 0');
    const young = await bed.cluster.gateway({ format: BROKEN });
    expect(await formatNow()).toEqual({ version: NOW + 2, oldest: NOW + 2 });
    expect(young.told('spool.open')).toHaveLength(1);
  });

  it('that is too new is refused by an older program, which says what to do', async () => {
    const young = await bed.cluster.gateway({ format: BROKEN });
    const refusal = await bed.cluster.gateway().then(
      () => undefined,
      (error: unknown) => error as SpoolError,
    );
    expect(refusal).toMatchObject({ name: 'SpoolError', trouble: 'newer' });
    expect(refusal?.message).toMatch(
      new RegExp(`its format is ${NOW + 2}.*this one knows ${NOW}.*install that version`),
    );
    expect(await young.cluster.members()).toHaveLength(1);
    await expect(bed.cluster.gateway({ format: ADDED })).rejects.toMatchObject({ trouble: 'newer' });
  });

  it('that became too new ends an older gateway that was only paused', async () => {
    const lost: SpoolError[] = [];
    const paused = await bed.cluster.gateway({ onLost: (error) => void lost.push(error) });
    await put(paused.spool);
    paused.proxy.mode = 'holds';
    await bed.cluster.sql('UPDATE smtp2exchange.member SET seen = 0');
    await bed.cluster.gateway({ format: BROKEN });
    paused.proxy.mode = 'passes';
    await vi.waitFor(() => expect(lost).toMatchObject([{ trouble: 'newer' }]), { timeout: 8_000 });
    expect(paused.spool.room()).toMatchObject({
      ok: false,
      reason: expect.stringContaining('newer version') as string,
    });
    expect(paused.told('spool.trouble')).toMatchObject([{ trouble: 'newer' }]);
    await expect(put(paused.spool)).rejects.toMatchObject({ trouble: 'newer' });
  });

  it('that cannot be reached stays as it was', async () => {
    const broken: Format = {
      ...ADDED,
      migrations: {
        [NOW]: { sql: 'ALTER TABLE item ADD COLUMN colour text; ALTER TABLE nowhere ADD COLUMN x text', oldest: NOW },
      },
    };
    await (await bed.cluster.gateway()).spool.close();
    await expect(bed.cluster.gateway({ format: broken })).rejects.toMatchObject({ name: 'SpoolError' });
    expect(await formatNow()).toEqual({ version: NOW, oldest: FORMAT.oldest });
    const columns = `SELECT 1 FROM information_schema.columns WHERE table_name = 'item' AND column_name = 'colour'`;
    expect(await bed.cluster.sql(columns)).toEqual([]);
    await bed.cluster.gateway({ format: ADDED });
    expect(await bed.cluster.sql(columns)).toHaveLength(1);
  });
});
