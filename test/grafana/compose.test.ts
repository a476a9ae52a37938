/** deploy/compose.yaml: what it mounts exists, what it names is declared, and its parts find each other. No engine is asked. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { folder } from '../gateway/process.ts';

const root = join(import.meta.dirname, '../..');
const deploy = join(root, 'deploy');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Service {
  readonly image: string;
  readonly build?: { readonly context: string };
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly security_opt: readonly string[];
  readonly restart: string;
  readonly networks: readonly string[];
  readonly volumes: readonly string[];
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
}
interface Compose {
  readonly services: Readonly<Record<'gateway' | 'prometheus' | 'grafana', Service>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>;
  readonly volumes: Readonly<Record<string, null>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

const compose = parse(read('deploy/compose.yaml'), { merge: true }) as Compose;
const { gateway, prometheus, grafana } = compose.services;
const services = Object.entries(compose.services);
/** Source and target of each mount. */
const mounts = services.flatMap(([name, { volumes }]) =>
  volumes.map((volume) => [name, ...volume.split(':')] as unknown as readonly [string, string, string, string?]),
);
/** Where a service finds a file of this project. */
const target = (source: string): string | undefined => mounts.find(([, from]) => from === source)?.[2];

const place = folder();
afterAll(() => place.remove());

describe('compose.yaml', () => {
  it('brings these up', () => {
    expect(Object.keys(compose.services)).toEqual(['gateway', 'prometheus', 'grafana']);
  });

  it.each(services)('%s is hardened, watched and of a fixed version', (_, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      restart: 'unless-stopped',
    });
    expect(service.healthcheck.test[0]).toBe('CMD');
    expect(service.build !== undefined || /:v?\d+\.\d+\.\d+$/.test(service.image)).toBe(true);
  });

  it('mounts what there is, read-only, and named volumes', () => {
    for (const [name, source, , mode] of mounts) {
      const isFile = source.startsWith('.');
      expect([name, source, isFile ? existsSync(join(deploy, source)) : source in compose.volumes]).toEqual([
        name,
        source,
        true,
      ]);
      expect([name, source, mode]).toEqual([name, source, isFile ? 'ro' : undefined]);
    }
    expect(mounts.map(([, source]) => source).filter((source) => source in compose.volumes)).toEqual(
      Object.keys(compose.volumes),
    );
  });

  it('declares every network and secret, and uses each', () => {
    const networks = services.flatMap(([, service]) => service.networks);
    expect([...new Set(networks)].toSorted()).toEqual(Object.keys(compose.networks).toSorted());
    const secrets = services.flatMap(([, service]) => service.secrets ?? []);
    expect(secrets.toSorted()).toEqual(Object.keys(compose.secrets).toSorted());
  });

  it('keeps secrets in files that git and the image do not get', () => {
    for (const { file } of Object.values(compose.secrets)) expect(file).toMatch(/^\.\/compose\/secrets\//);
    expect(read('.gitignore')).toContain('deploy/compose/secrets/');
    expect(read('.dockerignore').split('\n')).toContain('deploy');
    expect(grafana.environment?.['GF_SECURITY_ADMIN_PASSWORD__FILE']).toBe('/run/secrets/grafana-password');
  });

  it('publishes mail, and Grafana on this machine only', () => {
    expect(gateway.ports).toEqual(['2525:2525']);
    expect(prometheus.ports).toBeUndefined();
    expect(grafana.ports).toEqual(['127.0.0.1:3000:3000']);
    // A port of a service that has internal networks only is not published.
    for (const service of [gateway, grafana])
      expect(service.networks.some((network) => compose.networks[network]?.internal !== true)).toBe(true);
  });
});

describe('its parts', () => {
  it('are the gateway of the Dockerfile with a configuration that is right once it is filled in', async () => {
    expect(existsSync(join(deploy, gateway.build?.context ?? '', 'Dockerfile'))).toBe(true);
    const secret = place.write('client-secret', 'a secret');
    const text = read('deploy/compose/config.yaml')
      .replace(/<the sending mailbox[^>]*>/, 'notifications@contoso.com')
      .replace(/<Directory[^>]*>/, '11111111-2222-3333-4444-555555555555')
      .replace(/<Application[^>]*>/, '66666666-7777-8888-9999-000000000000');
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
    expect(gateway.networks.some((network) => prometheus.networks.includes(network))).toBe(true);
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
    expect(prometheus.networks.some((network) => grafana.networks.includes(network))).toBe(true);
  });
});
