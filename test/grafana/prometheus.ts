/** A real Prometheus as a process of its own, which scrapes gateways every second. Debian's package `prometheus`. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import type { Folder } from '../gateway/process.ts';

export interface Target {
  /** Becomes the label `instance`. */
  readonly name: string;
  /** Of its console. */
  readonly port: number;
  /** Seconds between two scrapes, and for one; default 1. */
  readonly interval?: number;
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Alert {
  readonly name: string;
  /** Of an alert about a spool: a gateway on it. '' where the alert is about none. */
  readonly instance: string;
}

export class Prometheus {
  readonly #child: ChildProcess;
  readonly #api: string;
  /** A gateway on each spool, by the spool's name; also one that is down now. */
  readonly #spools = new Map<string, string>();

  private constructor(child: ChildProcess, api: string) {
    this.#child = child;
    this.#api = api;
  }

  /** @param rules text of a rule file. Rejects with what it said when it does not come up. */
  static async start(place: Folder, targets: readonly Target[], rules: string): Promise<Prometheus> {
    const job = ({ name, port, interval = 1 }: Target): unknown => ({
      job_name: name,
      scrape_interval: `${interval}s`,
      scrape_timeout: `${interval}s`,
      static_configs: [{ targets: [`127.0.0.1:${port}`], labels: { job: 'smtp2exchange', instance: name } }],
    });
    const config = place.write(
      'prometheus.yaml',
      stringify({
        global: { evaluation_interval: '1s' },
        rule_files: [place.write('rules.yaml', rules)],
        scrape_configs: targets.map(job),
      }),
    );
    const child = spawn(
      'prometheus',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(place.path, 'prometheus')}`,
        '--web.listen-address=127.0.0.1:0',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const said: string[] = [];
    const lines = createInterface({ input: child.stderr });
    const address = new Promise<string>((resolve, reject) => {
      child.once('error', () =>
        reject(new Error('prometheus cannot be started; Debian has it: apt-get install prometheus')),
      );
      child.once('close', () => reject(new Error(`prometheus ended:\n${said.join('\n')}`)));
      lines.on('line', (line) => {
        said.push(line);
        const [, found] = /msg="Listening on" address=(\S+)/.exec(line) ?? [];
        if (found !== undefined) resolve(found);
      });
    });
    const origin = `http://${await address}`;
    // It listens before it has opened its store.
    for (let n = 0; n < 100 && !(await fetch(`${origin}/-/ready`)).ok; n++) await pause(200);
    return new Prometheus(child, `${origin}/api/v1`);
  }

  /**
   * @param at epoch milliseconds, default now
   * @throws Error with Prometheus' own words if the expression cannot be evaluated
   */
  async query(expression: string, at?: number): Promise<readonly Sample[]> {
    const time = at === undefined ? '' : `&time=${at / 1000}`;
    const data = (await this.#get(`query?query=${encodeURIComponent(expression)}${time}`)) as {
      readonly result: readonly { readonly metric: Sample['metric']; readonly value: readonly [number, string] }[];
    };
    return data.result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
  }

  /** Alerts that fire now. */
  async firing(): Promise<readonly Alert[]> {
    const data = (await this.#get('alerts')) as {
      readonly alerts: readonly { readonly state: string; readonly labels: Readonly<Record<string, string>> }[];
    };
    for (const { metric } of await this.query('smtp2exchange_build_info'))
      this.#spools.set(metric['spool'] ?? '', metric['instance'] ?? '');
    return data.alerts
      .filter(({ state }) => state === 'firing')
      .map(({ labels: { alertname = '', instance, spool = '' } }) => ({
        name: alertname,
        instance: instance ?? this.#spools.get(spool) ?? '',
      }));
  }

  /** Rules that it could not evaluate. */
  async unhealthyRules(): Promise<readonly string[]> {
    const data = (await this.#get('rules')) as {
      readonly groups: readonly { readonly rules: readonly { readonly name: string; readonly health: string }[] }[];
    };
    return data.groups.flatMap(({ rules }) =>
      rules.filter(({ health }) => health !== 'ok').map(({ name, health }) => `${name}: ${health}`),
    );
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill();
    await once(this.#child, 'exit');
  }

  async #get(path: string): Promise<unknown> {
    const answer = await fetch(`${this.#api}/${path}`);
    const body = (await answer.json()) as { readonly status: string; readonly error?: string; readonly data: unknown };
    if (body.status !== 'success') throw new Error(body.error ?? `HTTP ${answer.status}`);
    return body.data;
  }
}
