/** Every setting of the program, and the reference that docs/configuration.md shows of them. */
import type { Tree } from '../../src/config/document.ts';
import type { Setting } from '../../src/config/schema.ts';
import { ROOT } from '../../src/config/settings.ts';

export interface Listed extends Setting {
  /** `listeners[].certificate.certFile` */
  readonly path: string;
}

/** Groups and values, in the order of the schema. */
export function everySetting(setting: Setting = ROOT, path = ''): Listed[] {
  const { shape } = setting;
  const section = shape.kind === 'list' ? shape.item : shape;
  if (section.kind !== 'section') return [];
  const here = shape.kind === 'list' ? `${path}[]` : path;
  return [...section.keys].flatMap(([key, inner]) => {
    const name = here === '' ? key : `${here}.${key}`;
    return [{ ...inner, path: name }, ...everySetting(inner, name)];
  });
}

/** What routes have of `exchange` is described there once. */
export function isRepeated(path: string, all: ReadonlySet<string>): boolean {
  return path.startsWith('routes[].') && all.has(path.replace('routes[].', 'exchange.'));
}

/** Those that the reference shows. */
export function documentedSettings(): Listed[] {
  const all = everySetting();
  const paths = new Set(all.map(({ path }) => path));
  return all.filter(({ path }) => !isRepeated(path, paths));
}

/** The settings that a text has, in the same form. */
export function keysOf(tree: Tree, path = ''): string[] {
  if (tree.kind === 'map') {
    return tree.entries.flatMap(({ key, value }) => {
      const name = path === '' ? key : `${path}.${key}`;
      return [name, ...keysOf(value, name)];
    });
  }
  return tree.kind === 'list' ? tree.items.flatMap((item) => keysOf(item, `${path}[]`)) : [];
}

function isGroup({ shape }: Listed): boolean {
  return shape.kind === 'section' || (shape.kind === 'list' && shape.item.kind === 'section');
}

/** The group a setting stands in: `listeners[]` of `listeners[].port`. */
function groupOf(path: string): string {
  return path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '';
}

function row({ path, shape, kind, fallback, otherwise, required, description }: Listed): string {
  const item = shape.kind === 'list' && shape.item.kind === 'value' ? 'list' : kind;
  const value = Array.isArray(fallback) ? `[${fallback.join(', ')}]` : String(fallback);
  const usual = required ? '**required**' : (otherwise ?? (fallback === undefined ? '–' : `\`${value}\``));
  return `| \`${path}\` | ${item} | ${usual} | ${description} |`;
}

function table(settings: readonly Listed[]): string {
  return ['| setting | value | default | what it does |', '|---|---|---|---|', ...settings.map(row)].join('\n');
}

export function renderReference(): string {
  const all = documentedSettings();
  const groups = all.filter(isGroup).map((group) => {
    const prefix = group.shape.kind === 'list' ? `${group.path}[]` : group.path;
    const members = all.filter((setting) => groupOf(setting.path) === prefix && !isGroup(setting));
    const necessity = group.required ? ' Required.' : '';
    return [`### ${prefix}`, `${group.description}${necessity}`, ...(members.length > 0 ? [table(members)] : [])];
  });
  const alone = all.filter((setting) => groupOf(setting.path) === '' && !isGroup(setting));
  return `${[['### At the top level', table(alone)], ...groups].flat().join('\n\n')}\n`;
}
