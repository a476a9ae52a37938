/** The rules of the house (docs/architecture.md), held by reading the sources. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const src = join(root, 'src');

interface SourceFile {
  readonly path: string;
  readonly room: string;
  readonly text: string;
  readonly code: string;
  readonly imports: readonly string[];
}

/** Comments and the inside of string literals carry no rule. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

function read(path: string): SourceFile {
  const text = readFileSync(path, 'utf8');
  const code = withoutComments(text);
  const imports = [...code.matchAll(/(?:from\s+|import\s+|import\()\s*'([^']+)'/g)].map((match) => match[1] ?? '');
  const name = relative(src, path);
  return { path: name, room: name.includes('/') ? (name.split('/')[0] ?? '') : '', text, code, imports };
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => read(join(src, name)));

function target(file: SourceFile, specifier: string): string {
  return relative(src, resolve(src, dirname(file.path), specifier));
}

function offenders(breaks: (file: SourceFile) => readonly string[]): string[] {
  return files.flatMap((file) => breaks(file).map((what) => `${file.path}: ${what}`));
}

describe('the house', () => {
  it('has something to check', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.flatMap((file) => file.imports).length).toBeGreaterThan(100);
  });

  it('lets a file import its own room, mail/ and tls/ only; gateway.ts, assembly/ and commands/ import rooms', () => {
    const broken = offenders((file) => {
      if (file.path === 'gateway.ts' || file.room === 'commands') return [];
      if (file.room === 'assembly')
        return file.imports
          .filter((specifier) => specifier.startsWith('.'))
          .map((specifier) => target(file, specifier))
          .filter((path) => /^(gateway\.ts|main\.ts|commands\/|sandbox\/)/.test(path))
          .map((path) => `imports ${path}`);
      const allowed =
        file.path === 'main.ts' ? ['commands', 'mail'] : [file.room, 'mail', ...(file.room === 'mail' ? [] : ['tls'])];
      return file.imports
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => target(file, specifier))
        .filter((path) => !allowed.includes(path.split('/')[0] ?? ''))
        .map((path) => `imports ${path}`);
    });
    expect(broken).toEqual([]);
  });

  it('has one importing file for each package', () => {
    const builtin = new Set([...builtinModules, ...builtinModules.map((name) => `node:${name}`), 'node:sqlite']);
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const importers = new Map<string, string[]>();
    for (const file of files) {
      for (const specifier of file.imports) {
        if (specifier.startsWith('.') || builtin.has(specifier) || specifier.startsWith('node:')) continue;
        const parts = specifier.split('/');
        const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '');
        // Types alone have no behaviour to be kept behind a wall, and are gone when the program runs.
        const isType = !new RegExp(`import (?!type )[^;]*'${specifier}'`).test(file.code);
        if (isType && Object.hasOwn(manifest.devDependencies, name)) continue;
        const known = importers.get(name) ?? [];
        if (!known.includes(file.path)) importers.set(name, [...known, file.path]);
      }
    }
    expect([...importers].filter(([, paths]) => paths.length > 1)).toEqual([]);
    expect([...importers.keys()].toSorted()).toEqual(Object.keys(manifest.dependencies).toSorted());
  });

  it('has no import circle, types included', () => {
    const graph = new Map(
      files.map((file) => [file.path, file.imports.filter((s) => s.startsWith('.')).map((s) => target(file, s))]),
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const walk = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
        return;
      }
      if (done.has(path)) return;
      for (const next of graph.get(path) ?? []) walk(next, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) walk(path, []);
    expect(circles).toEqual([]);
  });

  it('keeps packages out of the spool thread, which would hold them a second time in memory', () => {
    const loaded = new Set<string>();
    const load = (path: string): void => {
      if (loaded.has(path)) return;
      loaded.add(path);
      const file = files.find((one) => one.path === path);
      for (const [, specifier = ''] of file?.code.matchAll(/^import (?!type )[^;=']*'([^']+)';/gm) ?? [])
        load(specifier.startsWith('.') && file ? target(file, specifier) : specifier);
    };
    load('spool/worker.ts');
    expect(loaded).toContain('mail/pattern.ts');
    expect([...loaded].filter((name) => !name.endsWith('.ts') && !name.startsWith('node:'))).toEqual([]);
  });

  it('imports only files that exist', () => {
    const known = new Set(files.map((file) => file.path));
    const broken = offenders((file) =>
      file.imports.filter((s) => s.startsWith('.') && s.endsWith('.ts') && !known.has(target(file, s))),
    );
    expect(broken).toEqual([]);
  });

  it('reads the environment in config/load.ts only, and ends the process or hears signals in main.ts only', () => {
    const broken = offenders((file) => [
      ...(file.path !== 'config/load.ts' && /process\.env\b/.test(file.code) ? ['process.env'] : []),
      ...(file.path !== 'main.ts' && /process\.(exit\b|exitCode\b|argv\b|kill\b)/.test(file.code)
        ? ['process.exit or argv']
        : []),
      ...(file.path !== 'main.ts' && /process\.(on|once|addListener)\(/.test(file.code) ? ['process events'] : []),
    ]);
    expect(broken).toEqual([]);
  });

  it('names a file after the one thing it holds', () => {
    const vague = /(^|\/)(index|utils?|helpers?|common|lib|types|misc|shared)\.ts$/;
    expect(files.map((file) => file.path).filter((path) => vague.test(path))).toEqual([]);
  });

  it('says at the head of each file what the module promises', () => {
    const silent = files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(file.text)).map((file) => file.path);
    expect(silent).toEqual([]);
  });

  it('leaves a closed union by a switch that the compiler proves complete', () => {
    const broken = offenders((file) =>
      /switch \([\w.]*\.(event|outcome|reach)\)/.test(file.code) && !/unreachable\(/.test(file.code)
        ? ['switch over a closed union without unreachable()']
        : [],
    );
    expect(broken).toEqual([]);
  });

  it('does nothing at import time', () => {
    const modules = files.map((file) => file.path).filter((path) => path !== 'main.ts' && path !== 'spool/worker.ts');
    // The standard streams are opened by the first look at them, which a package may take.
    const script = `
      void [process.stdout, process.stderr];
      const before = process.getActiveResourcesInfo().length;
      for (const path of ${JSON.stringify(modules)}) await import('${src}/' + path);
      const left = process.getActiveResourcesInfo().slice(before);
      const signals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'uncaughtException', 'unhandledRejection'].filter((name) => process.listenerCount(name) > 0);
      console.log(JSON.stringify({ left, signals }));
    `;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', cwd: root });
    expect(child.stderr).toBe('');
    expect(JSON.parse(child.stdout)).toEqual({ left: [], signals: [] });
  });
});

describe('the ground', () => {
  it('runs on Node 24 or later', () => {
    expect(Number(process.versions.node.split('.')[0])).toBeGreaterThanOrEqual(24);
  });

  it('pins every dependency exactly and records no download address', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {}))
        expect(`${name}@${version}`).toMatch(/@\d+\.\d+\.\d+(-[\w.]+)?$/);
    }
    expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toContain('"resolved"');
  });
});
