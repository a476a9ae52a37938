/**
 * deploy/kubernetes-cluster: several gateways on one database, in pods like the one of deploy/kubernetes, whose service,
 * network policy and namespace they use. Rendered by kubectl where that is there.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig, renderFaults } from '../../src/config/load.ts';
import type { Config } from '../../src/config/load.ts';
import { place } from '../config/place.ts';
import { filledIn, read } from './compose-file.ts';

const FOLDER = 'deploy/kubernetes-cluster';
const root = join(import.meta.dirname, '../..');
const here = place();

interface Volume {
  readonly name: string;
  readonly secret?: { readonly secretName: string };
  readonly emptyDir?: unknown;
  readonly persistentVolumeClaim?: unknown;
}
interface Container {
  readonly image: string;
  readonly env?: readonly {
    readonly name: string;
    readonly valueFrom: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
  }[];
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly [key: string]: unknown;
}
interface Workload {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly replicas: number;
    readonly strategy?: unknown;
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: unknown;
      readonly spec: {
        readonly containers: readonly [Container];
        readonly volumes: readonly Volume[];
        readonly terminationGracePeriodSeconds: number;
        readonly topologySpreadConstraints?: readonly {
          readonly topologyKey: string;
          readonly labelSelector: unknown;
        }[];
        readonly [key: string]: unknown;
      };
    };
  };
}

const deployment = parse(read(`${FOLDER}/deployment.yaml`)) as Workload;
const single = parse(read('deploy/kubernetes/statefulset.yaml')) as Workload;
const { spec: pod } = deployment.spec.template;
const [container] = pod.containers;
const kustomization = parse(read(`${FOLDER}/kustomization.yaml`)) as {
  readonly namespace: string;
  readonly resources: readonly string[];
  readonly patches: readonly { readonly path: string }[];
  readonly configMapGenerator: readonly {
    readonly behavior: string;
    readonly name: string;
    readonly files: readonly string[];
  }[];
  readonly images: unknown;
};
const base = parse(read('deploy/kubernetes/kustomization.yaml')) as typeof kustomization;
const guide = read('docs/install-kubernetes.md');

async function loaded(): Promise<Config> {
  const text = filledIn(read(`${FOLDER}/config.yaml`)).replace(
    '/run/secrets/smtp2exchange/client-secret',
    here.write('secret', 'a secret'),
  );
  const DATABASE_URL = /postgresql:\/\/\S+\/mail/.exec(guide)?.[0] ?? '';
  const result = await loadConfig(here.write('config.yaml', text), { DATABASE_URL }, 'gateway');
  if ('faults' in result) throw new Error(renderFaults(result.faults));
  return result.config;
}

describe('the manifests', () => {
  it('are each used, and add to those of one gateway', () => {
    const files = readdirSync(join(root, FOLDER)).filter((name) => !/^(?:kustomization|config)\.yaml$/.test(name));
    const used = [...kustomization.resources, ...kustomization.patches.map(({ path }) => path)];
    expect(used.toSorted()).toEqual(['../kubernetes', ...files].toSorted());
    const { namespace, images } = kustomization;
    expect({ namespace, images }).toEqual({ namespace: base.namespace, images: base.images });
    const [made] = kustomization.configMapGenerator;
    expect(made).toEqual({ ...base.configMapGenerator[0], behavior: 'replace' });
  });

  it('have pods like the one of a single gateway, but for where the mail is', () => {
    const known = new Set(['volumes', 'containers', 'terminationGracePeriodSeconds', 'topologySpreadConstraints']);
    const of = ({ spec }: Workload): unknown => Object.entries(spec.template.spec).filter(([key]) => !known.has(key));
    expect(of(deployment)).toEqual(of(single));
    expect(deployment.spec.selector).toEqual(single.spec.selector);
    expect(deployment.spec.template.metadata).toEqual(single.spec.template.metadata);
    const { env: _, lifecycle: __, volumeMounts, ...like } = container;
    const { volumeMounts: mountsOfSingle, ...one } = single.spec.template.spec.containers[0];
    expect(like).toEqual(one);
    expect(volumeMounts.filter(({ name }) => name !== 'authority')).toEqual(mountsOfSingle);
  });

  it('share no volume, and mount what there is', () => {
    expect(container.volumeMounts.map(({ name }) => name).toSorted()).toEqual(
      pod.volumes.map(({ name }) => name).toSorted(),
    );
    expect(pod.volumes.filter(({ persistentVolumeClaim }) => persistentVolumeClaim !== undefined)).toEqual([]);
    expect(pod.volumes.find(({ name }) => name === 'data')?.emptyDir).toBeDefined();
  });

  it('have a configuration that is right once it is filled in, with the database from a secret', async () => {
    const { spool, listeners, console: web } = await loaded();
    const data = container.volumeMounts.find(({ name }) => name === 'data')?.mountPath;
    expect(spool).toMatchObject({ folder: data, store: { kind: 'postgres' } });
    expect(listeners).toMatchObject([{ address: '0.0.0.0', port: 2525 }]);
    expect(web).toMatchObject({ address: '0.0.0.0', port: 8025 });
    const [variable] = container.env ?? [];
    expect(read(`${FOLDER}/config.yaml`)).toContain(`\${${variable?.name}}`);
    const { name, key } = variable?.valueFrom.secretKeyRef ?? { name: '', key: '' };
    expect(guide).toContain(`create secret generic ${name} `);
    expect(guide).toContain(`--from-file=${key}=`);
    const authority = pod.volumes.find((volume) => volume.name === 'authority');
    expect(authority?.secret?.secretName).toBe(name);
  });

  it('keep gateways at work: more than one, apart, one more before one less, time to end', async () => {
    const { shutdown } = await loaded();
    expect(deployment.spec.replicas).toBeGreaterThan(1);
    expect(deployment.spec.strategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
    });
    const [, wait = ''] = container.lifecycle?.preStop.exec.command ?? [];
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(Number(wait) + (shutdown.timeout * 2) / 1_000);
    expect(pod.topologySpreadConstraints?.map(({ topologyKey }) => topologyKey)).toEqual([
      'kubernetes.io/hostname',
      'topology.kubernetes.io/zone',
    ]);
    const budget = parse(read(`${FOLDER}/poddisruptionbudget.yaml`)) as {
      readonly spec: { readonly maxUnavailable: number; readonly selector: unknown };
    };
    expect(budget.spec).toEqual({ maxUnavailable: 1, selector: deployment.spec.selector });
    for (const { labelSelector } of pod.topologySpreadConstraints ?? [])
      expect(labelSelector).toEqual(deployment.spec.selector);
  });
});

const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;

it.skipIf(!hasKubectl)('are rendered: no gateway with a disk, the configuration, the way to the database', () => {
  const { stdout, stderr, status } = spawnSync('kubectl', ['kustomize', join(root, FOLDER)], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  const all = (parseAllDocuments(stdout) as { toJS(): unknown }[]).map(
    (document) =>
      document.toJS() as {
        readonly kind: string;
        readonly spec?: { readonly egress?: readonly { readonly ports: readonly { readonly port: number }[] }[] };
        readonly data?: Readonly<Record<string, string>>;
      },
  );
  expect(all.map(({ kind }) => kind).toSorted()).toEqual(
    ['ConfigMap', 'Deployment', 'Namespace', 'NetworkPolicy', 'PodDisruptionBudget', 'Service'].toSorted(),
  );
  expect(all.find(({ kind }) => kind === 'ConfigMap')?.data).toEqual({
    'config.yaml': readFileSync(join(root, FOLDER, 'config.yaml'), 'utf8'),
  });
  const egress = all.find(({ kind }) => kind === 'NetworkPolicy')?.spec?.egress ?? [];
  expect(egress.flatMap(({ ports }) => ports.map(({ port }) => port))).toEqual([53, 53, 443, 5432]);
});
