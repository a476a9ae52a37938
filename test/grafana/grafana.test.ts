/** Dashboard and alert rules against the metrics of the code, without Prometheus; .ci/prometheus evaluates them for real. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CATALOGUE } from '../../src/watch/catalogue.ts';
import type { MetricDefinition } from '../../src/watch/catalogue.ts';
import { createMetrics } from '../../src/watch/metrics.ts';
import { series } from '../watch/exposition.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit?: string;
      readonly thresholds?: { readonly steps: readonly { readonly color: string; readonly value: number | null }[] };
      readonly links?: readonly { readonly url: string }[];
    };
  };
  readonly panels?: readonly Panel[];
  readonly targets?: readonly {
    readonly expr: string;
    readonly refId: string;
    readonly datasource: { readonly uid: string };
  }[];
}
interface Dashboard {
  readonly uid: string;
  readonly id: null;
  readonly schemaVersion: number;
  readonly title: string;
  readonly tags: readonly string[];
  readonly links: readonly { readonly type: string; readonly tags: readonly string[] }[];
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr?: string }[] };
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
  };
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook_url: string };
}

const dashboards = readdirSync(join(root, 'grafana/dashboards')).map(
  (name) => [name, JSON.parse(read(`grafana/dashboards/${name}`)) as Dashboard] as const,
);
const rules = (
  parse(read('grafana/alerts/smtp2exchange.rules.yaml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const expressions = [
  ...dashboards.flatMap(([, { panels, templating, annotations }]) => [
    ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
    ...annotations.list.flatMap(({ name, expr }) =>
      expr === undefined ? [] : [[`annotation ${name}`, expr] as const],
    ),
    ...templating.list.flatMap(({ name, definition }) =>
      definition === undefined ? [] : ([[`variable ${name}`, definition]] as const),
    ),
  ]),
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
];

const METRIC = /\b((?:smtp2exchange|process|nodejs)_\w+|up)\b/g;

/** What the parentheses around a place in an expression belong to: `sum by (route)`, `increase`; '' outside of all. */
function around(expr: string, place: number): string {
  let depth = 0;
  for (let at = place - 1; at >= 0; at--) {
    if (expr[at] === ')') depth++;
    else if (expr[at] === '(' && --depth < 0) return /(\w+(?: by \([^)]*\))?) ?$/.exec(expr.slice(0, at))?.[1] ?? '';
  }
  return '';
}

/** The value of a counter whose series begins with its first event, which increase() does not see. */
const FIRST = /\((smtp2exchange_\w+\{[^}]*\}) unless \1 offset \$__rate_interval\) or /g;

function definitionOf(metric: string): MetricDefinition | undefined {
  return Object.values(CATALOGUE).find(
    ({ name, type }) =>
      name === metric || (type === 'histogram' && metric.replace(/_(?:bucket|sum|count)$/, '') === name),
  );
}

describe('every expression', () => {
  it('is there to be looked at', () => {
    expect(expressions.length).toBeGreaterThan(60);
  });

  it('names only metrics that the gateway has', async () => {
    const { body } = await createMetrics({ version: '0', stats: () => Promise.resolve(undefined) }).render();
    const usual = new Set([...series(body).keys()].map((key) => key.split('{')[0] ?? ''));
    const named = expressions.flatMap(([, expr]) => [...expr.matchAll(METRIC)].map(([name]) => name));
    expect(named.length).toBeGreaterThan(80);
    const unknown = named.filter(
      (name) =>
        name !== 'up' && definitionOf(name) === undefined && (name.startsWith('smtp2exchange_') || !usual.has(name)),
    );
    expect(unknown).toEqual([]);
  });

  it('uses only labels that its metrics have', () => {
    const wrong = expressions.flatMap(([title, expr]) => {
      const metrics = [...expr.matchAll(METRIC)].map(([name]) => name);
      // alertname and alertstate are of ALERTS, which Prometheus itself records.
      const has = new Set([
        'job',
        'instance',
        'spool',
        'le',
        'alertname',
        'alertstate',
        ...metrics.flatMap((name) => definitionOf(name)?.labels ?? []),
      ]);
      const selected = [...expr.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label = '']) => label);
      const grouped = [...expr.matchAll(/\b(?:by|on|without|group_left) \(([^)]*)\)/g)].flatMap(([, list = '']) =>
        list.split(/, */),
      );
      return [...selected, ...grouped].filter((label) => !has.has(label)).map((label) => `${title}: ${label}`);
    });
    expect(wrong).toEqual([]);
  });

  it('matches only values that a closed label can have', () => {
    const closed: Readonly<Record<string, RegExp>> = {
      state: /^(?:queued|sending|parked|relayed|dropped)$/,
      outcome: /^(?:relayed|delayed|failed|unknown)$/,
      result: /^(?:succeeded|failed|acquired)$/,
      refusal:
        /^(?:address|connections|auth|tls|size|recipients|header|loop|sender|recipient|banned|rate|errors|slow|policy|room|spool|syntax|timeout|aborted|stopping)$/,
      why: /^(?:misconfigured|throttled|trouble)$/,
    };
    const wrong = expressions.flatMap(([title, expr]) =>
      [...expr.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)].flatMap(([, label = '', values = '']) =>
        values
          .split('|')
          .filter((value) => closed[label]?.test(value) === false)
          .map((value) => `${title}: ${label} ${value}`),
      ),
    );
    expect(wrong).toEqual([]);
  });

  it('counts counters by rate, increase or changes only, and never a gauge so', () => {
    const wrong = expressions.flatMap(([title, expr]) =>
      [...expr.replace(FIRST, '').matchAll(METRIC)].flatMap((match) => {
        const definition = definitionOf(match[0]);
        if (definition === undefined) return [];
        const counted = /\b(?:rate|increase)\($/.test(expr.replace(FIRST, '').slice(0, match.index));
        return counted === (definition.type !== 'gauge') ? [] : [`${title}: ${match[0]}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('takes what all gateways on a spool say of it once: the largest or smallest of each spool, or of all', () => {
    const wrong = expressions.flatMap(([title, expr]) =>
      [...expr.matchAll(METRIC)].flatMap(({ 0: name, index }) => {
        if (definitionOf(name)?.scope !== 'spool') return [];
        return /^(?:max|min)(?: by \(job, spool\b.*\))?$/.test(around(expr, index)) ? [] : [`${title}: ${name}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('sees the first of what is counted by cause, whose series begins with it', () => {
    const blind = dashboards.flatMap(([, { panels }]) =>
      panels.flatMap(({ title, targets = [] }) =>
        targets
          .filter(
            ({ expr }) => /by \([^)]*\bcause\b[^)]*\) \(increase/.test(expr) && !expr.includes('pickup_refused_total'),
          )
          .map(() => title),
      ),
    );
    expect(blind).toEqual([]);
  });

  it('leaves no metric of ours without a panel', () => {
    const seen = new Set(
      dashboards.flatMap(([, { panels }]) =>
        panels.flatMap(({ targets = [] }) =>
          targets.flatMap(({ expr }) => [...expr.matchAll(METRIC)].map(([name]) => definitionOf(name)?.name)),
        ),
      ),
    );
    expect(Object.values(CATALOGUE).filter(({ name }) => !seen.has(name))).toEqual([]);
  });
});

describe('the dashboards', () => {
  it('are these', () => {
    expect(dashboards.map(([name]) => name).toSorted()).toEqual(
      ['delivery', 'front-door', 'identity', 'overview', 'pickup', 'runtime'].map((name) => `${name}.json`),
    );
  });

  it('have the same data source, job and instance, so that a link keeps the choice', () => {
    const [first] = dashboards.map(([, { templating }]) => templating);
    for (const [, { templating }] of dashboards) expect(templating).toEqual(first);
  });

  it('colour what is the same figure by the same limits', () => {
    const limits = new Map<string, string>();
    for (const [, { panels }] of dashboards) {
      for (const { type, title, fieldConfig, targets = [] } of panels.filter((panel) => panel.type === 'stat')) {
        const key = targets.map(({ expr }) => expr).join();
        const steps = JSON.stringify([type, fieldConfig?.defaults.unit, fieldConfig?.defaults.thresholds]);
        expect([title, limits.get(key) ?? steps]).toEqual([title, steps]);
        limits.set(key, steps);
      }
    }
  });

  it('are led to from the first, which stays short', () => {
    const overview = dashboards.find(([name]) => name === 'overview.json')?.[1];
    const linked = new Set(
      overview?.panels
        .flatMap(({ fieldConfig }) => fieldConfig?.defaults.links ?? [])
        .map(({ url }) => /^\/d\/([-\w]+)\?/.exec(url)?.[1]),
    );
    const others = dashboards.map(([, { uid }]) => uid).filter((uid) => uid !== overview?.uid);
    expect([...linked].toSorted()).toEqual(others.toSorted());
    expect(overview?.panels.filter(({ type }) => type !== 'row').length).toBeLessThanOrEqual(20);
  });
});

describe.each(dashboards)('dashboard %s', (file, dashboard) => {
  const { panels, templating } = dashboard;
  const graphs = panels.filter(({ type }) => type !== 'row');

  it('can be imported beside any other', () => {
    expect(dashboard.id).toBeNull();
    expect(dashboard.uid).toBe(`smtp2exchange-${file.replace('.json', '')}`);
    expect(dashboard.links).toMatchObject([{ type: 'dashboards', tags: ['smtp2exchange'], includeVars: true }]);
    expect(dashboard.tags).toContain('smtp2exchange');
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39);
    expect(dashboards.filter(([, other]) => other.uid === dashboard.uid)).toHaveLength(1);
  });

  it('takes its data from the source that the user chooses', () => {
    expect(templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance']);
    const sources = graphs.flatMap(({ datasource, targets = [] }) => [
      datasource?.uid,
      ...targets.map((target) => target.datasource.uid),
    ]);
    expect(new Set(sources)).toEqual(new Set(['${datasource}']));
  });

  it('shows only the jobs and instances chosen', () => {
    const loose = graphs.flatMap(({ title, targets = [] }) =>
      targets
        .filter(({ expr }) => {
          const selectors = [...expr.matchAll(/\b(?:smtp2exchange_\w+|process_\w+|nodejs_\w+|up)\b(\{[^}]*\})?/g)];
          return selectors.some(([, braces = '']) => !braces.startsWith('{job=~"$job",instance=~"$instance"'));
        })
        .map(() => title),
    );
    expect(loose).toEqual([]);
  });

  it('uses no variable it does not define', () => {
    const known = new Set([
      ...templating.list.map(({ name }) => name),
      '__rate_interval',
      '__url_time_range',
      '__all_variables',
    ]);
    const used = [...JSON.stringify(dashboard).matchAll(/\$\{?(\w+)/g)].map(([, name = '']) => name);
    expect(used.filter((name) => !known.has(name) && name !== '__all')).toEqual([]);
  });

  it('has a unit, a query and a place of its own for every panel', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { type, title, description = '', fieldConfig, targets = [] } of graphs) {
      expect([title, type]).toEqual([title, expect.stringMatching(/^(?:stat|timeseries|state-timeline|table)$/)]);
      expect([title, fieldConfig?.defaults.unit]).toEqual([title, expect.any(String)]);
      expect([title, description]).toEqual([title, expect.stringMatching(/^[A-Z0-9a-z].*\.$/)]);
      const values = (fieldConfig?.defaults.thresholds?.steps ?? []).map(({ value }) => value ?? -Infinity);
      expect([title, values]).toEqual([title, values.toSorted((a, b) => a - b)]);
      expect(targets.length).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
    }
    const taken = new Set<string>();
    for (const { gridPos, title } of panels) {
      expect([title, gridPos.x + gridPos.w <= 24]).toEqual([title, true]);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect([title, taken.has(`${x},${y}`)]).toEqual([title, false]);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});

describe('alerts', () => {
  const runbooks = read('docs/runbooks.md');
  const sections = [...runbooks.matchAll(/^## (\w+)$/gm)].map(([, name = '']) => name);

  it.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s says what happened, and its runbook what to do',
    (name, rule) => {
      expect(name).toMatch(/^Smtp2Exchange[A-Z]\w+$/);
      expect(rule.labels.severity).toMatch(/^(?:critical|warning)$/);
      expect(rule.annotations.summary).not.toBe('');
      expect(rule.annotations.description).toMatch(/\{\{ \$(?:labels|one\.Labels)\.instance \}\}/);
      expect(rule.annotations.runbook_url).toBe(`docs/runbooks.md#${name.toLowerCase()}`);
      const section = runbooks.split(`## ${name}\n`)[1]?.split('\n## ')[0] ?? '';
      for (const part of ['**Meaning.**', '**Check.**', '**Mend.**']) expect(section).toContain(part);
    },
  );

  it('are one for a spool, however many gateways are on it, but for what concerns a process', () => {
    const ofProcess = rules.filter(({ expr }) => !/\bby \(job, spool\b/.test(expr)).map(({ alert }) => alert);
    expect(ofProcess).toEqual(
      ['Down', 'Restarting', 'ConfigRefused', 'LogDropped', 'Bug'].map((name) => `Smtp2Exchange${name}`),
    );
    for (const { alert, expr, annotations } of rules) {
      const metrics = expr.match(/\bsmtp2exchange_\w+/g) ?? [];
      const groups = expr.match(/\bby \(job, spool\b/g) ?? [];
      expect([alert, groups.length]).toEqual([alert, ofProcess.includes(alert) ? 0 : metrics.length]);
      expect([alert, expr.includes('instance')]).toEqual([alert, false]);
      // The label that is not there would leave a hole in the text.
      expect([alert, annotations.description.includes('$labels.instance')]).toEqual([alert, ofProcess.includes(alert)]);
    }
  });

  it('and runbooks are the same list in the same order', () => {
    expect(sections).toEqual(rules.map(({ alert }) => alert));
  });

  it('each have a case in which they fire', () => {
    const cases = read('test/grafana/alerts.promtool.yaml');
    expect(rules.filter(({ alert }) => !cases.includes(`alertname="${alert}"`)).map(({ alert }) => alert)).toEqual([]);
  });
});

describe('provisioning', () => {
  it.each(['provisioning/datasources/prometheus.yaml', 'provisioning/dashboards/smtp2exchange.yaml'])(
    '%s is for Grafana',
    (path) => {
      expect(parse(read(`grafana/${path}`))).toMatchObject({ apiVersion: 1 });
    },
  );

  it('of Prometheus names the job that the alerts expect and the rules there are', () => {
    expect(parse(read('grafana/prometheus.yaml'))).toMatchObject({
      rule_files: ['alerts/smtp2exchange.rules.yaml'],
      scrape_configs: [{ job_name: 'smtp2exchange' }],
    });
  });
});
