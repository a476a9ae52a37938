/**
 * Dashboards over several gateways on one spool show what they show over a single one that has done all of their work: what
 * all of them tell of the spool is taken once, what each has counted is added up. Figures are made from events as in a
 * gateway, an hour of them, and handed to a real Prometheus (Debian's package) as its past; each expression is asked of
 * both. Prints a line; exit code 1 if something does not hold.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Event, EventName } from '../../src/mail/event.ts';
import type { SpoolStats } from '../../src/mail/spool.ts';
import type { Metrics } from '../../src/watch/metrics.ts';
import { createMetrics } from '../../src/watch/metrics.ts';
import { folder, root } from '../gateway/process.ts';
import { ALL_EVENTS, EVENTS } from '../watch/events.ts';
import { Prometheus } from './prometheus.ts';
import type { Sample } from './prometheus.ts';

/** Milliseconds between scrapes. */
const STEP = 15_000;
const STEPS = 300;
/** What is different by its nature. */
const OTHERWISE = /^runtime\.json: Gateways$/;

const clock = { now: Date.now() - (STEPS + 4) * STEP };
const state = { step: 0 };
const stats = (): Promise<SpoolStats> =>
  Promise.resolve({
    items: { queued: 40 + (state.step % 7), sending: 3, parked: 5, relayed: 900, bounced: 2, dropped: 1 },
    oldest: clock.now - 90_000,
    bytes: 1_000_000 + state.step,
    free: 9_000_000_000,
  });

interface Gateway {
  readonly job: 'alone' | 'several';
  readonly instance: string;
  readonly metrics: Metrics;
}
const gateway = (job: Gateway['job'], instance: string): Gateway => ({
  job,
  instance,
  metrics: createMetrics({
    version: '0',
    stats,
    now: () => clock.now,
    routes: ['exchange', 'fax'],
    accounts: ['exchange'],
    pickups: ['fax'],
  }),
});
const alone = gateway('alone', 'x:8025');
const several = ['a:8025', 'b:8025', 'c:8025'].map((instance) => gateway('several', instance));
const all = [alone, ...several];

/** What every gateway finds out by itself, or is told by the others: each reports it, and it is the same. */
const OF_EACH = new Set<EventName>([
  'listener.open',
  'certificate.loaded',
  'token.acquired',
  'credential.loaded',
  'transport.chosen',
  'config.reloaded',
  'alarm.raised',
]);
/** What is done to the spool, or once, by one of them. */
const APART = /^(?:gateway|spool|duty|pickup|route|config|alarm|log|transport)\./;
const done = ALL_EVENTS.filter(({ event }) => !OF_EACH.has(event) && !APART.test(event));
const picked = ALL_EVENTS.filter(({ event }) =>
  /^pickup\.(?:polled|resynced|refused|skipped|quarantined|deaf)$/.test(event),
);

function begin(): void {
  for (const { job, metrics } of all) {
    const [open] = EVENTS['spool.open'];
    metrics.report({ ...(open as Extract<Event, { event: 'spool.open' }>), spool: `${job}-00000000` });
    for (const event of ALL_EVENTS) if (OF_EACH.has(event.event)) metrics.report(event);
  }
  for (const { metrics } of several.slice(1)) for (const event of EVENTS['pickup.waiting']) metrics.report(event);
}

function work(): void {
  const [first] = several;
  for (const event of done) {
    for (const { metrics } of several) {
      metrics.report(event);
      alone.metrics.report(event);
    }
  }
  // The mailbox is one gateway's.
  for (const event of picked) for (const one of [first, alone]) one?.metrics.report(event);
  // One finds the route held, the others are told.
  if (state.step % 20 !== 18) return;
  const [held] = EVENTS['route.held'];
  if (held === undefined) return;
  for (const one of [first, alone]) one?.metrics.report({ ...held, until: clock.now + 30_000 });
  for (const { metrics } of several.slice(1)) metrics.report({ ...held, until: clock.now + 30_000, elsewhere: true });
}

/** A scrape, in the form that promtool takes the past in. */
async function scraped({ job, instance, metrics }: Gateway): Promise<string> {
  const { body } = await metrics.render();
  const at = clock.now / 1000;
  const own = `job="${job}",instance="${instance}"`;
  const lines = body
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) =>
      line.replace(
        /^(\w+)(?:\{(.*)\})? (\S+)$/,
        (_, name: string, labels = '', value: string) =>
          `${name}{${own}${labels === '' ? '' : `,${String(labels)}`}} ${value} ${at}`,
      ),
    );
  return [`up{${own}} 1 ${at}`, ...lines].join('\n');
}

function expressions(): readonly (readonly [string, string])[] {
  return readdirSync(join(root, 'grafana/dashboards')).flatMap((name) => {
    const { panels } = JSON.parse(readFileSync(join(root, 'grafana/dashboards', name), 'utf8')) as {
      readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
    };
    return panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [`${name}: ${title}`, expr] as const));
  });
}

/** Values by what the panel tells apart. */
function shown(samples: readonly Sample[]): ReadonlyMap<string, number> {
  const told = ({ metric }: Sample): readonly (readonly [string, string])[] =>
    Object.entries(metric).filter(([label]) => label !== 'job' && label !== 'spool');
  return new Map(samples.map((sample) => [JSON.stringify(Object.fromEntries(told(sample))), sample.value]));
}

function isSame(one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): boolean {
  return (
    one.size === other.size &&
    [...one].every(([key, value]) => {
      const there = other.get(key) ?? Infinity;
      return Object.is(value, there) || Math.abs(value - there) <= Math.abs(value) * 1e-6;
    })
  );
}

const place = folder();
const faults: string[] = [];
let prometheus: Prometheus | undefined;
let compared = 0;
let moved = 0;
try {
  begin();
  const past: string[] = [];
  for (; state.step < STEPS; state.step++, clock.now += STEP) {
    for (const one of all) past.push(await scraped(one));
    work();
  }
  const file = place.write('past.txt', `${past.join('\n')}\n# EOF\n`);
  execFileSync('promtool', ['tsdb', 'create-blocks-from', 'openmetrics', file, join(place.path, 'prometheus')], {
    stdio: 'pipe',
  });
  prometheus = await Prometheus.start(place, [], 'groups: []');
  const at = clock.now - STEP;
  for (const [title, expr] of expressions()) {
    const ask = async (job: Gateway['job']): Promise<ReadonlyMap<string, number>> =>
      shown(
        (await prometheus?.query(
          expr.replaceAll('$__rate_interval', '60s').replaceAll('$job', job).replaceAll('$instance', '.*'),
          at,
        )) ?? [],
      );
    const one = await ask('alone');
    // What is told of each instance is another thing of three.
    if (OTHERWISE.test(title) || [...one.keys()].some((key) => key.includes('"instance"'))) continue;
    const other = await ask('several');
    compared++;
    if ([...one.values()].some((value) => value > 0)) moved++;
    if (!isSame(one, other))
      faults.push(
        `${title}: ${expr}\n  one gateway: ${JSON.stringify([...one])}\n  three: ${JSON.stringify([...other])}`,
      );
  }
} finally {
  await prometheus?.stop();
  place.remove();
}
if (moved < 60) faults.push(`only ${moved} expressions have a figure`);
for (const fault of faults) process.stdout.write(`FAULT ${fault}\n`);
process.stdout.write(
  `${compared} expressions over three gateways and over one, ${moved} of them with figures, ${faults.length} faults\n`,
);
process.exit(faults.length === 0 ? 0 : 1);
