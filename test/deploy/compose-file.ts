/** Reads a file of Docker Compose as far as ours go, and holds it to what each of them promises. No engine is asked. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '../..');
const deploy = join(root, 'deploy');
export const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** A configuration with something in the place of what stands in < >. */
export function filledIn(text: string): string {
  return text
    .replace(/<the sending mailbox[^>]*>/, 'notifications@contoso.com')
    .replace(/<Directory[^>]*>/, '11111111-2222-3333-4444-555555555555')
    .replace(/<Application[^>]*>/, '66666666-7777-8888-9999-000000000000');
}

export interface Service {
  readonly image: string;
  readonly build?: { readonly context: string };
  readonly extends?: { readonly file: string; readonly service: string };
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly security_opt: readonly string[];
  readonly restart: string;
  readonly user?: string;
  readonly hostname?: string;
  readonly stop_grace_period?: string;
  /** A list of names, or by name what is said of each. */
  readonly networks: readonly string[] | Readonly<Record<string, { readonly ipv4_address?: string } | null>>;
  readonly volumes: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
}

interface Written {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<
    Record<
      string,
      {
        readonly internal?: boolean;
        readonly ipam?: { readonly config: readonly { readonly subnet: string }[] };
      } | null
    >
  >;
  readonly volumes: Readonly<Record<string, null>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

export interface ComposeFile extends Written {
  readonly name: string;
  service(name: string): Service;
  /** Of each mount: service, source, target, mode. */
  readonly mounts: readonly (readonly [string, string, string, string?])[];
  /** Where a file of this project is in the container of a service. */
  target(source: string, service?: string): string | undefined;
}

const targetOf = (volume: string): string => volume.split(':')[1] ?? '';
export const networksOf = ({ networks }: Service): readonly string[] =>
  Array.isArray(networks) ? (networks as readonly string[]) : Object.keys(networks);

/** One that stands in another file, with what this one says of it instead: a mount takes the place of that on its target. */
function whole(service: Service): Service {
  if (service.extends === undefined) return service;
  const base = written(service.extends.file).services[service.extends.service];
  if (base === undefined) throw new Error(`${service.extends.file} has no service ${service.extends.service}`);
  const { volumes = [] } = service;
  const kept = base.volumes.filter((volume) => !volumes.some((own) => targetOf(own) === targetOf(volume)));
  return { ...base, ...service, volumes: [...kept, ...volumes] };
}

function written(name: string): Written {
  return parse(read(`deploy/${name}`), { merge: true }) as Written;
}

/** @param name in deploy/ */
export function composeFile(name: string): ComposeFile {
  const file = written(name);
  const services = Object.fromEntries(Object.entries(file.services).map(([key, service]) => [key, whole(service)]));
  const mounts = Object.entries(services).flatMap(([service, { volumes }]) =>
    volumes.map((volume) => [service, ...volume.split(':')] as unknown as readonly [string, string, string, string?]),
  );
  return {
    ...file,
    name,
    services,
    mounts,
    service(key) {
      const found = services[key];
      if (found === undefined) throw new Error(`${name} has no service ${key}`);
      return found;
    },
    target: (source, service) =>
      mounts.find(([of, from]) => from === source && (service === undefined || of === service))?.[2],
  };
}

/** What each of them promises. */
export function itIsSound(file: ComposeFile): void {
  const { name, services, networks, volumes, secrets, mounts } = file;
  const all = Object.entries(services);

  describe(`deploy/${name}`, () => {
    it.each(all)('%s is hardened, watched and of a fixed version', (_, service) => {
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        restart: 'unless-stopped',
      });
      expect(service.healthcheck.test[0]).toBe('CMD');
      expect(service.build !== undefined || /:v?\d+\.\d+(?:\.\d+)?$/.test(service.image)).toBe(true);
    });

    it('mounts what there is, read-only, and named volumes', () => {
      for (const [service, source, , mode] of mounts) {
        const isFile = source.startsWith('.');
        const isThere = isFile ? existsSync(join(deploy, source)) : source in volumes;
        expect([service, source, isThere, mode]).toEqual([service, source, true, isFile ? 'ro' : undefined]);
      }
      const named = mounts.map(([, source]) => source).filter((source) => source in volumes);
      expect(named.toSorted()).toEqual(Object.keys(volumes).toSorted());
    });

    it('declares every network and secret, and uses each', () => {
      const used = new Set(all.flatMap(([, service]) => networksOf(service)));
      expect([...used].toSorted()).toEqual(Object.keys(networks).toSorted());
      const wanted = new Set(all.flatMap(([, service]) => service.secrets ?? []));
      expect([...wanted].toSorted()).toEqual(Object.keys(secrets).toSorted());
    });

    it('waits for services that it has', () => {
      for (const [, { depends_on: before = {} }] of all)
        for (const other of Object.keys(before)) expect(Object.keys(services)).toContain(other);
    });

    it('keeps secrets in files that git and the image do not get', () => {
      for (const { file: path } of Object.values(secrets)) expect(path).toMatch(/^\.\/compose\/secrets\//);
      expect(read('.gitignore')).toContain('deploy/compose/secrets/');
      expect(read('.dockerignore').split('\n')).toContain('deploy');
      expect(file.service('grafana').environment?.['GF_SECURITY_ADMIN_PASSWORD__FILE']).toBe(
        '/run/secrets/grafana-password',
      );
    });

    it('publishes no port of a service that has internal networks only', () => {
      const published = all.filter(([, { ports }]) => ports !== undefined);
      for (const [, service] of published)
        expect(networksOf(service).some((network) => networks[network]?.internal !== true)).toBe(true);
    });
  });
}
