/** 1,000 idle connections and 50 that drip: a normal client still gets its 250, and nothing stays behind. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { MESSAGE, TestListener, until } from './listener.ts';
import { Session } from './session.ts';

const IDLE = 1_000;
const DRIPPING = 50;
const ROUNDS = 40;
/** Octets that one idle session may cost, both ends of it. */
const SESSION = 100_000;

const listener = new TestListener();
const crowd: Session[] = [];
afterEach(async () => {
  for (const session of crowd) session.destroy();
  await listener.end();
});

/** Of a message from connect to QUIT, median, milliseconds. */
async function usual(): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    const session = await Session.open(listener.port);
    await session.hello();
    expect(await session.send(MESSAGE)).toMatch(/^250 2\.0\.0 queued/);
    expect(await session.say('QUIT')).toMatch(/^221 /);
    times.push(performance.now() - begun);
    session.destroy();
  }
  return times.toSorted((a, b) => a - b)[ROUNDS / 2] ?? 0;
}

it('do not keep the door shut', { timeout: 60_000 }, async () => {
  await listener.start({
    maxConnections: 2_000,
    maxConnectionsPerAddress: 2_000,
    minDataRate: 100,
    rateWindow: 3_000,
  });
  await usual();
  const alone = await usual();
  const before = process.memoryUsage().rss;
  for (let n = 0; n < IDLE; n += 50) {
    crowd.push(...(await Promise.all(Array.from({ length: 50 }, () => Session.open(listener.port)))));
  }
  await until('the greetings', () => crowd.every((session) => session.heard.length === 1));
  const dripping = await Promise.all(Array.from({ length: DRIPPING }, () => listener.session()));
  await Promise.all(dripping.map((session) => session.toData()));
  const drip = setInterval(() => {
    for (const session of dripping) if (!session.isClosed) session.write('x');
  }, 100);
  try {
    const crowded = await usual();
    // A ratio, generously: other processes share the machine.
    expect(crowded).toBeLessThan(10 * alone + 20);
    expect(process.memoryUsage().rss - before).toBeLessThan((IDLE + DRIPPING) * SESSION);
    await until('the end of the slow', () => dripping.every((session) => session.isClosed));
  } finally {
    clearInterval(drip);
  }
  expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(Array.from({ length: DRIPPING }, () => 'slow'));
  for (const session of dripping) expect(session.heard.at(-1)).toMatch(/^421 4\.4\.2 /);
  await until(
    'the end of their drafts',
    () => listener.inject.drafts.filter(({ state }) => state === 'aborted').length === DRIPPING,
  );
  expect(crowd.every((session) => !session.isClosed)).toBe(true);
  for (const session of crowd) session.destroy();
  await until(
    'the end of all',
    () => listener.told('session.closed').length === listener.told('session.opened').length,
  );
  await pause(0);
  expect(await usual()).toBeLessThan(10 * alone + 20);
});
