/** A spool that is being moved, or was: what a gateway is told of it, when it starts and while it runs. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { refuseMoved, watchMoved } from '../../src/assembly/moved.ts';
import type { Cluster, Member } from '../../src/mail/cluster.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { MOVE_MARK, setMoveMark } from '../../src/spool/move-mark.ts';

const cursors = new Map<string, string>();
let trouble: SpoolError | undefined;
const spool = {
  cursor: async (source: string): Promise<string | undefined> => {
    if (trouble !== undefined) throw trouble;
    return cursors.get(source);
  },
  keepCursor: async (source: string, cursor: string | undefined): Promise<void> => {
    if (cursor === undefined) cursors.delete(source);
    else cursors.set(source, cursor);
  },
};
const member = (id: string, duties: readonly string[] = []): Member => ({
  id,
  host: `host-${id}`,
  version: '1',
  startedAt: 0,
  seenAt: 0,
  sending: 0,
  duties,
});
const cluster = (...others: readonly Member[]): Cluster =>
  ({ id: 'me', lease: 30_000, members: async () => [member('me'), ...others] }) as unknown as Cluster;

beforeEach(() => {
  cursors.clear();
  trouble = undefined;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('lets a gateway start on any other spool, whoever is at work on it', async () => {
  await refuseMoved(spool, undefined, 'here');
  await refuseMoved(spool, cluster(member('a', ['alarms']), member('b')), 'here');
});

it('names the machine that moves it', async () => {
  await expect(refuseMoved(spool, cluster(member('a', ['alarms', 'spool.move'])), 'here')).rejects.toMatchObject({
    kind: 'temporary',
    message: expect.stringMatching(/^The spool here is being moved .* on host-a: start/) as string,
  });
});

it.each([
  ['into', 'temporary'],
  ['outOf', 'temporary'],
  ['moved', 'configuration'],
] as const)('refuses one with the mark %s as %s', async (what, kind) => {
  await setMoveMark(spool, { what, other: 'there', at: 0 });
  expect([...cursors.keys()]).toEqual([MOVE_MARK]);
  await expect(refuseMoved(spool, undefined, 'here')).rejects.toMatchObject({
    kind,
    message: expect.stringContaining('there') as string,
  });
  await setMoveMark(spool, undefined);
  await refuseMoved(spool, undefined, 'here');
});

it('tells one that was cut off from it meanwhile, once it is back', async () => {
  const told: Error[] = [];
  const end = watchMoved(spool, cluster(), 'here', (error) => told.push(error));
  await vi.advanceTimersByTimeAsync(60_000);
  trouble = new SpoolError('io', 'no answer');
  await setMoveMark(spool, { what: 'moved', other: 'there', at: 0 });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual([]);
  trouble = undefined;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(told.map(({ message }) => message)).toEqual([expect.stringContaining('was moved to there')]);
  await end();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(told).toHaveLength(1);
});

it('does not watch a file, which nobody can move while it is in use', async () => {
  const end = watchMoved(spool, undefined, 'here', () => undefined);
  expect(vi.getTimerCount()).toBe(0);
  await end();
});
