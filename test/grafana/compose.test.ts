/** deploy/compose.yaml: what it mounts exists, what it names is declared, and its parts find each other. No engine is asked. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { composeFile, filledIn, itIsSound, networksOf, read } from '../deploy/compose-file.ts';
import { folder } from '../gateway/process.ts';

const deploy = join(import.meta.dirname, '../../deploy');
const compose = composeFile('compose.yaml');
const { target } = compose;
const gateway = compose.service('gateway');
const prometheus = compose.service('prometheus');
const grafana = compose.service('grafana');

const place = folder();
afterAll(() => place.remove());

itIsSound(compose);

it('brings these up, and publishes mail, and Grafana on this machine only', () => {
  expect(Object.entries(compose.services).map(([name, { ports }]) => [name, ports])).toEqual([
    ['gateway', ['2525:2525']],
    ['prometheus', undefined],
    ['grafana', ['127.0.0.1:3000:3000']],
  ]);
});

describe('its parts', () => {
  it('are the gateway of the Dockerfile with a configuration that is right once it is filled in', async () => {
    expect(existsSync(join(deploy, gateway.build?.context ?? '', 'Dockerfile'))).toBe(true);
    const secret = place.write('client-secret', 'a secret');
    const text = filledIn(read('deploy/compose/config.yaml'));
    expect(text).toContain('/run/secrets/client-secret');
    const loaded = await loadConfig(place.write('config.yaml', text.replace('/run/secrets/client-secret', secret)), {});
    if (!('config' in loaded)) throw new Error(JSON.stringify(loaded.faults));
    const { listeners, console: web, spool } = loaded.config;
    expect(listeners.map(({ address, port }) => `${address}:${port}`)).toEqual(['0.0.0.0:2525']);
    expect(`${web.address}:${web.port}`).toBe('0.0.0.0:8025');
    expect(gateway.volumes).toContain(`gateway-data:${spool.folder}`);
    expect(read('Dockerfile')).toContain(target('./compose/config.yaml'));
  });

  it('are Prometheus with the example configuration, the gateway by its name, and the rules', () => {
    const example = parse(read('grafana/prometheus.yaml')) as { scrape_configs: { static_configs: unknown }[] };
    const ours = parse(read('deploy/compose/prometheus.yaml')) as typeof example & { rule_files: string[] };
    expect(ours.scrape_configs[0]?.static_configs).toEqual([{ targets: ['gateway:8025'] }]);
    for (const { scrape_configs } of [ours, example]) for (const job of scrape_configs) job.static_configs = [];
    expect(ours).toEqual(example);
    expect(prometheus.command).toContain(`--config.file=${target('./compose/prometheus.yaml')}`);
    expect(target('../grafana/alerts')).toBe('/etc/prometheus/alerts');
    expect(networksOf(gateway).some((network) => networksOf(prometheus).includes(network))).toBe(true);
  });

  it('are Grafana with every dashboard, the first one at its door, and Prometheus as its source', () => {
    const dashboards = target('../grafana/dashboards');
    const provider = parse(read('grafana/provisioning/dashboards/smtp2exchange.yaml')) as {
      providers: { options: { path: string } }[];
    };
    expect(provider.providers.map(({ options }) => options.path)).toEqual([dashboards]);
    expect(grafana.environment?.['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH']).toBe(`${dashboards}/overview.json`);
    const source = parse(read('grafana/provisioning/datasources/prometheus.yaml')) as {
      datasources: { url: string }[];
    };
    expect(source.datasources.map(({ url }) => url)).toEqual(['http://prometheus:9090']);
    expect(target('../grafana/provisioning')).toBe('/etc/grafana/provisioning');
    expect(networksOf(prometheus).some((network) => networksOf(grafana).includes(network))).toBe(true);
  });
});
