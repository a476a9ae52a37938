/**
 * deploy/compose-cluster.yaml: two gateways on one spool, of whom HAProxy, the database and its standby, Prometheus and the
 * configuration say the same. No engine is asked.
 */
import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig, renderFaults } from '../../src/config/load.ts';
import type { Config } from '../../src/config/load.ts';
import { readPostgresUrl } from '../../src/mail/postgres-url.ts';
import { place } from '../config/place.ts';
import type { Service } from './compose-file.ts';
import { composeFile, filledIn, itIsSound, networksOf, read } from './compose-file.ts';

const compose = composeFile('compose-cluster.yaml');
const { target } = compose;
const GATEWAYS = ['gateway-a', 'gateway-b'] as const;
const here = place();
const addressOf = (name: string): string => {
  const { networks } = compose.service(name);
  return Array.isArray(networks)
    ? ''
    : ((networks as Record<string, { ipv4_address?: string }>)['mail']?.ipv4_address ?? '');
};
/** As the head of the file tells to write it. */
const [, URL = ''] = /^# +secrets\/database-url +(\S+)$/m.exec(read('deploy/compose-cluster.yaml')) ?? [];

async function loaded(): Promise<Config> {
  let text = filledIn(read('deploy/compose/cluster/config.yaml'));
  for (const [secret, value] of [
    ['client-secret', 'a secret'],
    ['database-url', URL.replace(/<.*>/, 'x')],
  ] as const) {
    expect(text).toContain(`/run/secrets/${secret}`);
    text = text.replace(`/run/secrets/${secret}`, here.write(secret, value));
  }
  const result = await loadConfig(here.write('config.yaml', text), {}, 'gateway');
  if ('faults' in result) throw new Error(renderFaults(result.faults));
  return result.config;
}

itIsSound(compose);

it('brings these up, and publishes mail, and Grafana on this machine only', () => {
  expect(Object.entries(compose.services).map(([name, { ports }]) => [name, ports])).toEqual([
    ['haproxy', ['2525:2525']],
    ['gateway-a', undefined],
    ['gateway-b', undefined],
    ['database', undefined],
    ['standby', undefined],
    ['prometheus', undefined],
    ['grafana', ['127.0.0.1:3000:3000']],
  ]);
});

it('has gateways that differ in name, address and volume only', () => {
  const [a, b] = GATEWAYS.map((name) =>
    JSON.stringify(compose.service(name)).replaceAll(name, 'gateway').replace(addressOf(name), 'address'),
  );
  expect(a).toBe(b);
  for (const name of GATEWAYS) {
    expect(compose.service(name).hostname).toBe(name);
    expect(compose.service(name).volumes).toContain(`${name}-data:/var/lib/smtp2exchange`);
  }
});

describe('its parts', () => {
  it('are gateways with a configuration that is right once it is filled in', async () => {
    const { listeners, console: web, spool, shutdown } = await loaded();
    expect(listeners).toMatchObject([{ address: '0.0.0.0', port: 2525 }]);
    expect(web).toMatchObject({ address: '0.0.0.0', port: 8025 });
    expect(spool).toMatchObject({ folder: '/var/lib/smtp2exchange', store: { kind: 'postgres' } });
    for (const name of GATEWAYS) {
      expect(read('Dockerfile')).toContain(target('./compose/cluster/config.yaml', name));
      const seconds = Number.parseInt(compose.service(name).stop_grace_period ?? '', 10);
      expect(seconds * 1_000).toBeGreaterThan(shutdown.timeout * 2);
    }
  });

  it('are HAProxy as in its example, with the gateways and the ports of here, and it alone is believed', async () => {
    const { listeners, console: web } = await loaded();
    const ours = read('deploy/compose/cluster/haproxy.cfg');
    const listener = listeners[0];
    expect(ours).toMatch(new RegExp(`bind :${listener?.port}\n`));
    expect(ours).toContain(`check port ${web.port} `);
    expect([...ours.matchAll(/^ +server (\S+) (\S+)$/gm)].map(([, name, to]) => [name, to])).toEqual(
      GATEWAYS.map((name) => [name, `${addressOf(name)}:${listener?.port}`]),
    );
    expect(JSON.stringify(listener?.proxyProtocol)).toContain(addressOf('haproxy'));
    const same = (text: string): string =>
      text.replace(/^(?:#.*\n)+/, '').replaceAll(/(?<=^ +server \S+ |^ +bind |^ +log )(?!global).*$/gm, '...');
    expect(same(ours)).toBe(same(read('deploy/haproxy/haproxy.cfg')));
    expect(target('./compose/cluster/haproxy.cfg')).toBe('/usr/local/etc/haproxy/haproxy.cfg');
  });

  it('wait longer for a silent client than the gateway does, which tells it why', async () => {
    const [minutes] = [...read('deploy/haproxy/haproxy.cfg').matchAll(/timeout (?:client|server) (\d+)m/g)].map(
      ([, m]) => Number(m),
    );
    for (const { idleTimeout } of (await loaded()).listeners)
      expect((minutes ?? 0) * 60_000).toBeGreaterThan(idleTimeout * 2);
  });

  it('have addresses of the network, which each is in', () => {
    const subnet = compose.networks['mail']?.ipam?.config[0]?.subnet ?? '';
    const [prefix = ''] = subnet.split('.0/24');
    const all = ['haproxy', ...GATEWAYS].map(addressOf);
    for (const address of all) expect([isIP(address), address.startsWith(`${prefix}.`)]).toEqual([4, true]);
    expect(new Set(all).size).toBe(all.length);
  });

  it('are a database that the gateways reach, by a URL whose login it has', () => {
    const url = readPostgresUrl(URL.replace(/<.*>/, 'x'));
    if (!url.ok) throw new Error(url.problem);
    const { hosts, user, database } = url.value;
    expect(hosts.map(({ host, port }) => [host, port])).toEqual([
      ['database', 5432],
      ['standby', 5432],
    ]);
    expect(read('deploy/postgres/init.sh')).toContain(`CREATE ROLE ${user} LOGIN`);
    expect(read('deploy/postgres/init.sh')).toContain(`CREATE DATABASE ${database} OWNER ${user}`);
    expect(read('deploy/postgres/pg_hba.conf')).toMatch(
      new RegExp(`^host +${database} +${user} +samenet +scram-sha-256$`, 'm'),
    );
    const isReached = (service: Service): boolean => networksOf(service).includes('store');
    expect(Object.keys(compose.services).filter((name) => isReached(compose.service(name)))).toEqual([
      ...GATEWAYS,
      'database',
      'standby',
    ]);
    expect(compose.networks['store']?.internal).toBe(true);
  });

  it('are a standby that commits wait for, and that waits for none', () => {
    const [, name = ''] =
      /^synchronous_standby_names = '(\w+)'$/m.exec(read('deploy/postgres/smtp2exchange.conf')) ?? [];
    expect(read('deploy/postgres/standby.sh')).toContain(`--slot ${name} `);
    expect(read('deploy/postgres/standby.sh')).toContain(`application_name=${name}"`);
    expect(read('deploy/postgres/init.sh')).toContain(`pg_create_physical_replication_slot('${name}')`);
    const { command, environment, entrypoint } = compose.service('standby');
    expect(command).toContain('synchronous_standby_names=');
    expect(environment?.['PRIMARY']).toBe('database');
    expect(entrypoint).toEqual([target('./postgres/standby.sh')]);
    for (const server of ['database', 'standby']) {
      const words = compose.service(server).command ?? [];
      expect(words).toContain(`config_file=${target('./postgres/smtp2exchange.conf', server)}`);
      expect(words).toContain(`hba_file=${target('./postgres/pg_hba.conf', server)}`);
      expect(compose.service(server).environment?.['PGDATA']).toMatch(/^\/var\/lib\/postgresql\/\d+\/docker$/);
    }
    for (const secret of ['gateway-password', 'replicator-password'])
      expect(compose.service('database').secrets).toContain(secret);
  });

  it('are Prometheus with the example configuration, the gateways by their names', () => {
    const example = parse(read('grafana/prometheus.yaml')) as { scrape_configs: { static_configs: unknown }[] };
    const ours = parse(read('deploy/compose/cluster/prometheus.yaml')) as typeof example;
    expect(ours.scrape_configs[0]?.static_configs).toEqual([{ targets: GATEWAYS.map((name) => `${name}:8025`) }]);
    for (const { scrape_configs } of [ours, example]) for (const job of scrape_configs) job.static_configs = [];
    expect(ours).toEqual(example);
    const prometheus = compose.service('prometheus');
    expect(prometheus.command).toContain(`--config.file=${target('./compose/cluster/prometheus.yaml')}`);
    for (const name of GATEWAYS)
      expect(networksOf(compose.service(name)).some((network) => networksOf(prometheus).includes(network))).toBe(true);
  });
});
