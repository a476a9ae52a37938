/**
 * Dashboards and alert rules against a real Prometheus and real gateways: under traffic every expression of every dashboard
 * has data and no alert fires; in each kind of trouble its own alert does, and ends when it is mended. The rules' durations
 * are shortened (shortened-rules.ts). Linux, root (mounts), Debian's prometheus. Prints a table; exit code 1 if something
 * does not hold. `npm run alerts [STORY]...` tells only these.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { folder, root } from '../gateway/process.ts';
import { AlertWatch } from './alert-watch.ts';
import { Site } from './live-site.ts';
import { stories } from './live-stories.ts';
import { Prometheus } from './prometheus.ts';
import { FACTOR, shortened } from './shortened-rules.ts';
import type { Story } from './story.ts';
import { toldBy } from './story.ts';

/** Seconds of traffic before anything goes wrong: longer than the windows of most rules. */
const CALM = 25;
const HEALTHY = 'healthy';
/**
 * What no gateway here does: shadow mode, an hour's wait for what is purged, SMTP submission with some recipients refused,
 * being one of several on a spool.
 */
const NOT_HERE = /shadow_rehearsals|items_dropped|items_split|leases_lost|items_taken_over|duty_held/;

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr?: string }[] };
}

const faults: string[] = [];
const print = (line: string): void => void process.stdout.write(`${line}\n`);
function hold(what: string, is: boolean): void {
  if (!is) faults.push(what);
}

/** What Grafana puts for the variables. */
function filledIn(expression: string, instance: string): string {
  return expression
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$job', 'smtp2exchange')
    .replaceAll('$instance', instance)
    .replace(/^label_values\((.*), *\w+\)$/s, '$1');
}

function expressionsOf(name: string): readonly (readonly [string, string])[] {
  const board = JSON.parse(readFileSync(join(root, 'grafana/dashboards', name), 'utf8')) as Dashboard;
  return [
    ...board.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => [`${name}: ${title}`, expr] as const),
    ),
    ...board.templating.list.flatMap(({ name: variable, definition }) =>
      definition === undefined ? [] : [[`${name}: variable ${variable}`, definition] as const],
    ),
  ];
}

/** Before its first scrape Prometheus knows of no gateway, which is an alert. */
async function allAreSeen(prometheus: Prometheus, gateways: number): Promise<void> {
  for (const deadline = Date.now() + 30_000; ; await pause(500)) {
    const up = await prometheus.query('up == 1');
    if (up.length === gateways && (await prometheus.firing()).length === 0) return;
    if (Date.now() > deadline) throw new Error(`Prometheus reaches ${up.length} of ${gateways} gateways`);
  }
}

/** Every panel has data: a number, for the gateway that is well alone. */
async function dashboardsAreFilled(prometheus: Prometheus): Promise<number> {
  const all = readdirSync(join(root, 'grafana/dashboards')).flatMap(expressionsOf);
  for (const [what, expression] of all) {
    const asked = filledIn(expression, HEALTHY);
    hold(`${what} has a variable that is not known here: ${asked}`, !asked.includes('$'));
    try {
      const samples = await prometheus.query(asked);
      hold(
        `${what} shows nothing: ${asked}`,
        samples.some(({ value }) => !Number.isNaN(value)),
      );
    } catch (error) {
      faults.push(`${what}: ${String(error)}: ${asked}`);
    }
  }
  return all.length;
}

/** Of every panel, what was at some time something else than 0: a panel that cannot move tells nothing. */
async function dashboardsMoved(prometheus: Prometheus, seconds: number): Promise<void> {
  const still = new Map<string, boolean>();
  for (const [what, expression] of readdirSync(join(root, 'grafana/dashboards')).flatMap(expressionsOf)) {
    if (what.includes(': variable ')) continue;
    const asked = `max_over_time((${filledIn(expression, '.*')})[${seconds}s:1s])`;
    const samples = await prometheus.query(asked);
    if (!samples.some(({ value }) => value > 0)) still.set(`${what}: ${expression}`, true);
  }
  for (const what of still.keys()) hold(`${what} stayed 0 all the time`, NOT_HERE.test(what));
}

/** What its metrics say of trouble now. */
async function troubleOf(site: Site): Promise<readonly string[]> {
  try {
    const metrics = await (await fetch(`http://127.0.0.1:${site.port}/metrics`)).text();
    const telling =
      /^smtp2exchange_(?:alarms_active|queue_items|route_|pickup_up|spool_trouble|token_remaining).* [^0]/;
    return metrics.split('\n').filter((line) => telling.test(line));
  } catch (error) {
    return [`no metrics: ${String(error)}`];
  }
}

async function told(story: Story, site: Site, watch: AlertWatch): Promise<void> {
  const begun = Date.now();
  try {
    await story.tell(toldBy(site, watch));
    print(`${site.name}: told in ${Math.round((Date.now() - begun) / 1000)} s`);
  } catch (error) {
    const said = site.isUp
      ? site.gateway.lines.filter(({ event }) => !/^(?:message|delivery|session)\./.test(event))
      : [];
    const details = [...(await troubleOf(site)), ...said.slice(-8).map((line) => JSON.stringify(line))];
    faults.push(`${site.name}: ${String(error)}\n  firing now: ${watch.now.join(', ')}\n  ${details.join('\n  ')}`);
    print(`${site.name}: ${String(error)}`);
  }
}

function nothingElseFired(told: readonly Story[], watch: AlertWatch): void {
  const expected = new Set(watch.seen.map(({ name, instance }) => `${name} ${instance}`));
  for (const { site, also } of told) for (const name of also) expected.add(`Smtp2Exchange${name} ${site.name}`);
  for (const key of watch.ever) hold(`${key}: fired, and nothing of the kind was wrong`, expected.has(key));
}

function summary(names: readonly string[], watch: AlertWatch): void {
  const seconds = (milliseconds = NaN): string => (milliseconds / 1000).toFixed(1).padStart(7);
  print(
    `\n${'alert'.padEnd(34)}${'gateway'.padEnd(14)}  fired  clear  (s after it was waited for; times run ${FACTOR} times as fast)`,
  );
  for (const { name, instance, fired, cleared } of watch.seen.toSorted((a, b) => a.name.localeCompare(b.name)))
    print(`${name.padEnd(34)}${instance.padEnd(14)}${seconds(fired)}${seconds(cleared)}`);
  for (const name of names)
    hold(
      `${name} was not seen to fire and to clear`,
      watch.seen.some((one) => one.name === name && one.cleared !== undefined),
    );
}

const begun = Date.now();
const wanted = process.argv.slice(2);
const rules = readFileSync(join(root, 'grafana/alerts/smtp2exchange.rules.yaml'), 'utf8');
const names = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);
const place = folder();
const all = await stories();
const chosen = all.filter(({ site }) => wanted.length === 0 || wanted.includes(site.name));
const sites: Site[] = [];
let prometheus: Prometheus | undefined;
let watch: AlertWatch | undefined;
/** Leaves neither process nor mount behind. */
async function end(): Promise<void> {
  await watch?.stop();
  await prometheus?.stop();
  await Promise.all(all.map(async (story) => await story.end?.()));
  await Promise.all(sites.map(async (site) => await site.stop()));
  place.remove();
}
async function giveUp(why: string): Promise<void> {
  process.stderr.write(`${why}\n`);
  await end();
  process.exit(1);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void giveUp(signal));
process.once('uncaughtException', (error) => void giveUp(String(error.stack)));
try {
  const healthy = {
    name: HEALTHY,
    exchange: `  expires: ${new Date(Date.now() + 100 * 86_400_000).toISOString().slice(0, 10)}`,
  };
  for (const options of [healthy, ...chosen.map(({ site }) => site)]) {
    const site = await Site.start(options);
    if (options.name === 'secret') site.sandbox.identity.lifetime = 30;
    sites.push(site);
  }
  const targets = sites.map(({ name, port, options }) => ({ name, port, interval: options.interval ?? 1 }));
  prometheus = await Prometheus.start(place, targets, shortened(rules));
  await allAreSeen(prometheus, sites.length);
  watch = new AlertWatch(prometheus);
  await pause(CALM * 1_000);
  hold(`with all well, an alert fired: ${watch.ever.join(', ')}`, watch.ever.length === 0);
  const count = await dashboardsAreFilled(prometheus);
  print(
    `${sites.length} gateways under traffic: ${count} expressions of the dashboards, ${names.length} alerts, ${faults.length} faults`,
  );
  const watching = watch;
  await Promise.all(chosen.map(async (story, number) => await told(story, sites[number + 1] as Site, watching)));
  faults.push(...(await prometheus.unhealthyRules()));
  nothingElseFired(chosen, watch);
  const ran = Math.ceil((Date.now() - begun) / 1000);
  if (wanted.length === 0) await dashboardsMoved(prometheus, ran);
  summary(wanted.length === 0 ? names : [], watch);
} finally {
  await end();
}
for (const fault of faults) print(`FAULT ${fault}`);
print(`\n${faults.length} faults, ${Math.round((Date.now() - begun) / 1000)} s`);
process.exit(faults.length === 0 ? 0 : 1);
