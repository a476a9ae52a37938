/**
 * The documents say what the program does: every example of a configuration loads, every command and option is told and
 * exists, links lead somewhere. Settings, events, metrics and alerts have such tests beside what they are about
 * (test/config/reference, test/watch, test/grafana).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Command } from '../src/commands/command.ts';
import { EXIT } from '../src/commands/outcome.ts';
import { loadConfig, renderFaults } from '../src/config/load.ts';
import { ALARM_REASONS } from '../src/mail/alarm.ts';
import { CATALOGUE } from '../src/watch/catalogue.ts';
import { makePems, place } from './config/place.ts';
import { everySetting } from './config/reference.ts';
import { ALL_EVENTS } from './watch/events.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const guides = readdirSync(join(root, 'docs')).map((name) => `docs/${name}`);
const documents = new Map(['README.md', 'CONTRIBUTING.md', ...guides].map((path) => [path, read(path)]));
const all = [...documents.values()].join('\n');

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Of the commands of main.ts, which cannot be imported: it runs. */
async function commands(): Promise<readonly Command[]> {
  const loads = [...read('src/main.ts').matchAll(/import\('\.\/(commands\/[\w-]+\.ts)'\)\)\.(\w+)/g)];
  return Promise.all(
    loads.map(async ([, path = '', name = '']) => {
      const module = (await import(join(root, 'src', path))) as Record<string, Command | undefined>;
      const command = module[name];
      if (command === undefined) throw new Error(`${path} has no ${name}`);
      return command;
    }),
  );
}

describe('examples of configurations', () => {
  const here = place();
  const HASH = '$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA';
  const KEY = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const SECTIONS =
    'hostname|listeners|users|clients|senders|recipients|logins|exchange|routes|pickup|pop3|pacing|retry|bounces|spool|alarms|console|shutdown|log';
  const ACCOUNT = ['tenantId: contoso.com', 'clientId: 66666666-7777-8888-9999-000000000000', 'clientSecret: secret'];

  beforeAll(async () => {
    const { cert, key } = await makePems();
    here.write('cert.pem', cert);
    here.write('key.pem', key);
    here.write('secret', 'secret');
    here.write('signing', KEY);
    here.write('database-url', 'postgresql://mail:secret@db/mail');
  });

  const examples = [...documents].flatMap(([path, text]) =>
    [...text.matchAll(/^( *)```yaml\n([\s\S]*?)\n *```$/gm)].map(([, indent = '', example = ''], index) => ({
      name: `${path} ${index + 1}`,
      example: example.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    })),
  );

  /** What an example leaves out because it is about something else, and files where this machine has them. */
  function whole(example: string): string {
    let text = example
      .replaceAll(/\b(\w*[fF]ile): (?!\$)("[^"]*"|[^\s,}#]+)/g, (_, key: string) => `${key}: ${fileFor(key)}`)
      .replaceAll(/sslrootcert=[\w./]+/g, 'sslrootcert=cert.pem')
      .replaceAll(/passwordHash: (?:"[^"]*"|\.\.\.)/g, `passwordHash: "${HASH}"`)
      .replace(/^ +tenantId: \.\.\.\n +clientId: \.\.\.\n +clientSecret: .*$/m, `  ${ACCOUNT.join('\n  ')}`);
    const has = (section: string): boolean => new RegExp(`^${section}:`, 'm').test(text);
    if (!has('listeners')) text += '\nlisteners: [{ name: lan, port: 2525 }]';
    if (!has('senders')) text += '\nsenders: { mailbox: notifications@contoso.com }';
    else if (!/^ {2}mailbox:/m.test(text))
      text = text.replace(/^senders:/m, '$&\n  mailbox: notifications@contoso.com');
    if (!has('exchange')) text += `\nexchange: { ${ACCOUNT.join(', ')} }`;
    else if (!/^ {2}(?:tenantId|username|managedIdentity):/m.test(text))
      text = text.replace(/^exchange:.*$/m, `$&\n  ${ACCOUNT.join('\n  ')}`);
    const user = /\{ ?user: (\w+)|^ +- user: (\w+)/m.exec(text)?.slice(1).find(Boolean);
    if (user !== undefined && !has('users')) text += `\nusers: [{ name: ${user}, passwordHash: "${HASH}" }]`;
    return text;
  }

  function fileFor(key: string): string {
    if (key === 'postgresFile') return 'database-url';
    if (key === 'certFile' || key === 'caFile') return 'cert.pem';
    if (key === 'keyFile') return 'key.pem';
    return key === 'secretFile' || key === 'tokenFile' ? 'signing' : 'secret';
  }

  /** Every variable that the text asks for, with a value of the kind its name says. */
  function environmentOf(text: string): Record<string, string> {
    const names = [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => name);
    const valueOf = (name: string): string =>
      name === 'DATABASE_URL'
        ? 'postgresql://mail:secret@db/mail'
        : /URL|WEBHOOK/.test(name)
          ? 'https://hooks.example/x'
          : /KEY/.test(name)
            ? KEY
            : 'secret';
    return Object.fromEntries(names.map((name) => [name, valueOf(name)]));
  }

  it('are found', () => {
    expect(examples.length).toBeGreaterThan(20);
  });

  it.each(examples.map((one) => [one.name, one.example] as const))('%s loads', async (name, example) => {
    expect(example).toMatch(new RegExp(`^(?:${SECTIONS}):`));
    const text = whole(example);
    const loaded = await loadConfig(
      here.write(`${name.replaceAll(/\W/g, '-')}.yaml`, text),
      environmentOf(text),
      'test',
    );
    expect('faults' in loaded ? `${renderFaults(loaded.faults)}\n${text}` : '').toBe('');
  });
});

describe('links', () => {
  /** As GitHub makes them of headings. */
  function anchorsOf(text: string): readonly string[] {
    const seen = new Map<string, number>();
    return [...text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => {
      const name = heading
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-');
      const count = seen.get(name) ?? 0;
      seen.set(name, count + 1);
      return count === 0 ? name : `${name}-${count}`;
    });
  }

  it.each([...documents])('of %s lead somewhere', (path, text) => {
    const broken = [...text.matchAll(/\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)/g)].flatMap(
      ([link, to = '', anchor]) => {
        const file = to === '' ? path : relative(root, join(root, dirname(path), to));
        if (!existsSync(join(root, file))) return [link];
        return anchor === undefined || anchorsOf(read(file)).includes(anchor) ? [] : [link];
      },
    );
    expect(broken).toEqual([]);
  });

  it('of README.md lead to every guide', () => {
    expect(guides.filter((path) => !documents.get('README.md')?.includes(`](${path})`))).toEqual([]);
  });

  it('name tests that there are', () => {
    const named = [...all.matchAll(/`((?:test|src|deploy)\/[\w./-]+\.\w+)`/g)].map(([, path = '']) => path);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});

describe('commands', () => {
  it('are in docs/commands.md as they tell of themselves', async () => {
    const sections = (await commands()).map(({ name, usage, summary, help }) =>
      [
        `## ${name}`,
        '',
        ...(help === undefined ? [`${capital(summary).replace(/:$/, '')}.`, ''] : []),
        '```text',
        help ?? usage,
        '```',
        '',
      ].join('\n'),
    );
    const intro = `# Commands

As \`--help\` tells them; \`--version\` prints the version. How the command is called in each kind of installation: [operations.md](operations.md#where-everything-lies).
Written by \`npx vitest run test/documents -u\`.
`;
    await expect([intro, ...sections].join('\n')).toMatchFileSnapshot(join(root, 'docs/commands.md'));
  });

  it('are in README.md, with every option somewhere', async () => {
    const known = await commands();
    expect(known.length).toBeGreaterThan(5);
    const table = /^## Command line\n([\s\S]*?)^## /m.exec(documents.get('README.md') ?? '')?.[1] ?? '';
    const told = [...table.matchAll(/^\| `([\w-]+)/gm)].map(([, name]) => name);
    expect(told.toSorted()).toEqual(known.map(({ name }) => name).toSorted());
    const untold = known.flatMap(({ name, options }) =>
      Object.keys(options).flatMap((option) =>
        new RegExp(`--${option}(?![\\w-])`).test(all) ? [] : [`${name} --${option}`],
      ),
    );
    expect(untold).toEqual([]);
  });

  it('of every example exist, with the options they are called with', async () => {
    const known = new Map((await commands()).map((command) => [command.name, command]));
    const called =
      /(?:(?<=^|`|\$ |sudo -u smtp2exchange )smtp2exchange|npm start --|npm run demo --|dist[/\\]main\.js['"]?|bin[/\\]smtp2exchange\.js) ([a-z][\w-]*|--exit)((?:[^\n`|]|\|(?! ))*)/gm;
    const wrong: string[] = [];
    let count = 0;
    for (const [path, text] of documents) {
      const code = [...text.matchAll(/^ *```[a-z]*\n[\s\S]*?^ *```|`[^`\n]+`/gm)].map(([one]) => one).join('\n');
      for (const [line, word = '', rest = ''] of code.matchAll(called)) {
        const command = known.get(word.startsWith('--') ? 'demo' : word);
        const options = [...rest.replace(/ [|;>#&].*/, '').matchAll(/(?<=\s)--([a-z][\w-]*)/g)].map(
          ([, option = '']) => option,
        );
        count++;
        if (command === undefined || options.some((option) => !Object.hasOwn(command.options, option)))
          wrong.push(`${path}: ${line}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(30);
  });

  it('of npm exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: object };
    const named = new Set([...all.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name = '']) => name));
    expect(named.size).toBeGreaterThan(5);
    expect([...named].filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  it('end with the codes that README.md names', () => {
    const [, told = ''] = /^Exit codes: (.*)$/m.exec(documents.get('README.md') ?? '') ?? [];
    expect([...told.matchAll(/\d+/g)].map(Number)).toEqual(Object.values(EXIT));
  });
});

describe('names', () => {
  const settings = new Set(everySetting().map(({ path }) => path.replaceAll('[]', '')));
  const events = new Set<string>(ALL_EVENTS.map(({ event }) => event));

  it('of settings and events are those of the program, wherever a document has them', () => {
    const families = new Set([...settings, ...events].map((name) => name.split('.')[0] ?? ''));
    const named = new Set(
      [...all.matchAll(/`([a-z]\w*(?:\[\])?(?:\.[a-z]\w*(?:\[\])?)+)(?=[`:=])/g)].map(([, name = '']) => name),
    );
    // Columns of the spool, a value of a label, files.
    const others = /^(?:item\.(?:tells|first)|exchange\.graph|.*\.(?:ts|txt|html|json|ya?ml|sock|db))$/;
    const unknown = [...named].filter((name) => {
      const plain = name.replaceAll('[]', '');
      if (others.test(plain) || !families.has(plain.split('.')[0] ?? '') || events.has(plain)) return false;
      return ![...settings].some((path) => path === plain || path.endsWith(`.${plain}`));
    });
    expect(unknown).toEqual([]);
    expect(named.size).toBeGreaterThan(100);
  });

  it('of metrics are those of the program', () => {
    const metrics = new Set<string>(Object.values(CATALOGUE).map(({ name }) => name));
    const named = new Set([...all.matchAll(/\bsmtp2exchange_\w*[a-z]\b(?!\*)/g)].map(([name]) => name));
    expect([...named].filter((name) => !metrics.has(name.replace(/_(?:bucket|sum|count)$/, '')))).toEqual([]);
    expect(named.size).toBeGreaterThan(50);
  });

  it('of alerts are those of the rules', () => {
    const rules = new Set(
      [...read('grafana/alerts/smtp2exchange.rules.yaml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name),
    );
    const named = new Set([...all.matchAll(/\bSmtp2Exchange\w+\b(?!\*)/g)].map(([name]) => name));
    expect([...named].filter((name) => !rules.has(name))).toEqual([]);
    expect(named.size).toBe(rules.size);
  });
});

describe('alarms', () => {
  it('are the ones docs/alarms.md lists', () => {
    const [, table = ''] = /^## Reasons\n([\s\S]*?)^## /m.exec(documents.get('docs/alarms.md') ?? '') ?? [];
    expect([...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, reason]) => reason).toSorted()).toEqual(
      [...ALARM_REASONS].toSorted(),
    );
  });

  it('are the values of the label that docs/metrics.md lists', () => {
    const [, values = ''] = /^\| `reason` \| (.*) \|$/m.exec(documents.get('docs/metrics.md') ?? '') ?? [];
    expect([...values.matchAll(/`(\w+)`/g)].map(([, reason]) => reason).toSorted()).toEqual(
      [...ALARM_REASONS].toSorted(),
    );
  });
});
