/** `spool move`, and the gateway before and after it: everything is delivered once, and nobody works on half of it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommandFault } from '../../src/commands/outcome.ts';
import { spoolCommand } from '../../src/commands/spool.ts';
import type { MovableSpool } from '../../src/mail/spool.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { moveMark, setMoveMark } from '../../src/spool/move-mark.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { all } from '../spool/contract-moving.ts';
import { put } from '../spool/spool-under-test.ts';
import { chance } from './chance.ts';
import { CommandProcess } from './command-process.ts';
import { filePlace, moveUnderKills, nothingElse } from './move-crash-line.ts';
import { arrivedAt, moveConfig } from './move-site.ts';
import { BOB, FAX, faxSandbox, handedIds, mail, until } from './pickup-site.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

let place: Folder;
let gateways: GatewayProcess[];

beforeEach(() => {
  place = folder();
  gateways = [];
});
afterEach(async () => {
  for (const gateway of gateways) await gateway.stop('SIGKILL');
  place.remove();
});

describe('a gateway that starts', () => {
  const SENDING = 'notifications@contoso.com';
  let sandbox: Sandbox;
  beforeEach(async () => {
    sandbox = await faxSandbox();
  });
  afterEach(() => sandbox.close());

  const configure = (spool: string): string => moveConfig(place, sandbox, spool);
  const start = (configFile: string): GatewayProcess => {
    const gateway = new GatewayProcess(configFile, { SECRET: sandbox.clientSecret });
    gateways.push(gateway);
    return gateway;
  };
  const arrived = (): readonly string[] => arrivedAt(sandbox);

  it('after a move delivers everything, once, and picks up nothing twice; on the old spool none starts', async () => {
    const old = configure(`sqlite: ${place.path}/a.db`);
    const first = start(old);
    const smtp = await RawSmtp.open(await first.ready());
    const sent: string[] = [];
    const send = async (name: string): Promise<void> => {
      const header = `From: ${SENDING}\r\nTo: ${BOB}\r\nSubject: ${name}\r\nMessage-ID: <${name}@pbx.test>\r\n`;
      await smtp.send(SENDING, [BOB], `${header}\r\n${'the body\r\n'.repeat(sent.length * 1_000)}`);
      sent.push(`<${name}@pbx.test>`);
    };
    await send('delivered-before');
    await sandbox.receive(FAX, { mime: mail({ id: 'picked-up-before' }) });
    await until('the first ones', () => arrived().length === 1 && handedIds(join(place.path, 'out')).length === 1);
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { status: 503 } });
    for (let n = 10; n < 30; n++) await send(`waiting-${n}`);
    await first.event('delivery.delayed');
    smtp.end();
    await first.stop();

    const { code, out, errors } = await new CommandProcess(
      ['spool', 'move', '--to', join(place.path, 'b.db'), '--config', old],
      place.path,
    ).ended;
    expect([code, errors]).toEqual([0, '']);
    expect(out).toMatch(
      /^Moved from .*a\.db to .*b\.db: 22 messages \(22 items, .* MB\), 1 receipt of pickups, \d cursor/,
    );
    expect(out).toContain('\n  sqlite: b.db');

    const queue = await new CommandProcess(['queue', 'list', '--config', old], place.path).ended;
    expect(queue).toMatchObject({ code: 0, errors: expect.stringContaining('Nothing like that waits') as string });
    const late = start(old);
    expect((await late.exited).code).toBe(78);
    expect(late.errors.join()).toMatch(/a\.db was moved to .*b\.db/);

    sandbox.clearFaults();
    const second = start(configure('sqlite: b.db'));
    await second.ready();
    await until('the rest', () => arrived().length >= sent.length);
    await sandbox.receive(FAX, { mime: mail({ id: 'picked-up-after' }) });
    await until('the other fax', () => handedIds(join(place.path, 'out')).length > 1);
    await second.stop();
    expect(arrived()).toEqual(sent.toSorted());
    expect(handedIds(join(place.path, 'out'))).toEqual([
      '<picked-up-after@contoso.com>',
      '<picked-up-before@contoso.com>',
    ]);
    expect(second.lines.filter(({ event }) => event === 'bug')).toEqual([]);
  });

  it('on a spool that is half moved ends with 75, on either, and one that runs keeps the mail from being moved', async () => {
    const config = configure(`sqlite: ${place.path}/a.db`);
    for (const what of ['into', 'outOf'] as const) {
      const spool = await openSqliteSpool({ path: join(place.path, 'a.db'), report: () => undefined });
      await setMoveMark(spool, { what, other: 'elsewhere.db', at: 0 });
      await spool.close();
      const gateway = start(config);
      expect((await gateway.exited).code).toBe(75);
      expect(gateway.errors.join()).toMatch(/elsewhere\.db.*run "smtp2exchange spool move" again/);
    }
    const words = ['--config', config];
    const queue = await new CommandProcess(['queue', 'list', ...words], place.path).ended;
    expect(queue).toMatchObject({ code: 75, errors: expect.stringContaining('elsewhere.db') as string });
    const { code, out } = await new CommandProcess(['spool', 'move', '--give-up', ...words], place.path).ended;
    expect([code, out]).toEqual([0, expect.stringContaining('a spool like any other')]);
    await start(config).ready();
    for (const [option, name] of [
      ['--to', 'b.db'],
      ['--from', 'b.db'],
    ] as const) {
      if (option === '--from')
        await (await openSqliteSpool({ path: join(place.path, name), report: () => undefined })).close();
      const refused = await new CommandProcess(['spool', 'move', option, name, ...words], place.path).ended;
      expect(refused).toMatchObject({ code: 75, out: '', errors: expect.stringContaining('a.db is in use') as string });
    }
  });
});

it('loses nothing and doubles nothing under kill -9', async () => {
  const { kills, moves } = await moveUnderKills([filePlace(place.path, 'a.db'), filePlace(place.path, 'b.db')], {
    folder: place.path,
    configFile: place.write('config.yaml', nothingElse('sqlite: unused.db')),
    rounds: 24,
    random: chance(1),
  });
  expect(kills).toBe(24);
  expect(moves).toBeGreaterThan(1);
}, 60_000);

describe('the command', () => {
  interface Ended {
    readonly code: number;
    readonly out: string;
    readonly errors: string;
  }
  let configFile: string;
  let stop: AbortController;

  beforeEach(() => {
    stop = new AbortController();
    configFile = configure('sqlite: a.db');
  });

  const configure = (spool: string): string => place.write('config.yaml', nothingElse(spool));
  const open = async (name: string): Promise<MovableSpool> =>
    openSqliteSpool({ path: join(place.path, name), report: () => undefined });
  const fill = async (name: string, count = 3): Promise<void> => {
    const spool = await open(name);
    for (let n = 0; n < count; n++) await put(spool, `body ${n}`);
    await spool.close();
  };
  const idsIn = async (name: string): Promise<number> => {
    const spool = await open(name);
    const found = await all(spool);
    await spool.close();
    return found.length;
  };
  const at = (name: string): string => join(place.path, name);

  async function spool(...words: readonly string[]): Promise<Ended> {
    const out: string[] = [];
    const errors: string[] = [];
    const { options } = spoolCommand;
    const args = [...words, '--config', configFile];
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    const terminal = {
      print: (line: string) => void out.push(line),
      complain: (line: string) => void errors.push(line),
      write: async () => undefined,
      progress: () => undefined,
      stop: stop.signal,
      onReload: () => undefined,
    };
    const ended = (code: number): Ended => ({ code, out: out.join('\n'), errors: errors.join('\n') });
    try {
      return ended(await spoolCommand.run(values, terminal, positionals));
    } catch (error) {
      if (!(error instanceof CommandFault)) throw error;
      terminal.complain(error.message);
      return ended(error.exitCode);
    }
  }

  it.each([
    [[], 64, 'spool what?'],
    [['empty'], 64, 'There is no "spool empty"'],
    [['move'], 64, '--to PLACE, or --from PLACE'],
    [['move', 'b.db'], 64, 'takes no "b.db"'],
    [['move', '--to', 'b.db', '--to-file', 'url'], 64, 'give one of them'],
    [['move', '--give-up', '--to', 'b.db'], 64, '--give-up'],
    [['move', '--to', 'env:NOT_THERE'], 78, '--to the environment variable NOT_THERE is not set'],
    [['move', '--to', 'postgres://mail:geheim@db/mail?gibts=1'], 78, '--to has the parameter'],
    [['move', '--to', 'mysql://mail:geheim@db/mail'], 78, '--to must be a URL'],
    [['move', '--to-file', 'nothing'], 78, '--to-file there is no such file'],
    [['move', '--from', 'nothing.db'], 78, 'There is no spool at'],
  ])('says what it does not understand: %j', async (words, code, sentence) => {
    await fill('a.db', 1);
    const ended = await spool(...words);
    expect(ended).toMatchObject({ code, out: '', errors: expect.stringContaining(sentence) as string });
    expect(ended.errors).not.toContain('geheim');
    expect(await idsIn('a.db')).toBe(1);
  });

  it('moves there and back, with what to write into the configuration', async () => {
    await fill('a.db');
    mkdirSync(at('else where'));
    expect(await spool('move', '--to', at('else where/b.db'))).toEqual({
      code: 0,
      errors: '',
      out: [
        `Moved from ${at('a.db')} to ${at('else where/b.db')}: 3 messages (3 items, 18 B)`,
        `Before the gateway starts, write this into the section spool of ${configFile}, in place of what names the spool there:`,
        '  sqlite: else where/b.db',
      ].join('\n'),
    });
    expect([await idsIn('a.db'), await idsIn('else where/b.db')]).toEqual([0, 3]);
    expect(await spool('move', '--from', at('else where/b.db'))).toEqual({
      code: 0,
      errors: '',
      out: [
        `Moved from ${at('else where/b.db')} to ${at('a.db')}: 3 messages (3 items, 18 B)`,
        `${configFile} names ${at('a.db')}: the gateway can start`,
      ].join('\n'),
    });
    expect(await idsIn('a.db')).toBe(3);
  });

  it('is the same when it is called again, and knows where mail went', async () => {
    await fill('a.db');
    await spool('move', '--to', at('b.db'));
    expect(await spool('move', '--to', at('b.db'))).toMatchObject({
      code: 0,
      out: expect.stringContaining('0 messages') as string,
    });
    expect(await spool('move', '--to', at('c.db'))).toMatchObject({
      code: 78,
      errors: `There is no mail in ${at('a.db')}: it was moved to ${at('b.db')}`,
    });
    expect(await spool('move', '--to', at('a.db'))).toMatchObject({
      code: 64,
      errors: expect.stringContaining('already') as string,
    });
    configFile = configure('sqlite: b.db');
    expect(await spool('move', '--from', at('b.db'))).toMatchObject({
      code: 64,
      errors: expect.stringContaining('into itself') as string,
    });
  });

  it('tells programs the same', async () => {
    await fill('a.db');
    const { out } = await spool('move', '--to', at('b.db'), '--json');
    expect(JSON.parse(out)).toEqual({
      from: at('a.db'),
      to: at('b.db'),
      isWhole: true,
      messages: 3,
      items: 3,
      octets: 18,
      receipts: 0,
      cursors: 0,
      already: 0,
      left: [],
      configuration: ['sqlite: b.db'],
    });
  });

  it('leaves what cannot be read, names it, and ends with 1', async () => {
    await fill('a.db');
    const hand = new DatabaseSync(at('a.db'));
    const { id } = hand.prepare('SELECT max(id) AS id FROM item').get() as { id: string };
    hand.exec(`UPDATE item SET envelope = '{' WHERE id = '${id}'`);
    hand.close();
    const { code, out } = await spool('move', '--to', at('b.db'));
    expect(code).toBe(1);
    expect(out).toContain(`${id}  left at ${at('a.db')}: its envelope cannot be read`);
    expect(out).toContain('2 messages');
    expect([await idsIn('a.db'), await idsIn('b.db')]).toEqual([1, 2]);
  });

  it('leaves the rest where it is when the disk takes no more, and says so', async () => {
    await fill('a.db');
    configFile = configure('sqlite: a.db, minFree: 1000GB');
    const { code, out, errors } = await spool('move', '--to', at('b.db'));
    expect(code).toBe(75);
    expect(errors).toMatch(/only \d+ MB are free on the disk of .*b\.db/);
    expect(out).toContain(`The rest is where it was, in ${at('a.db')}`);
    expect([await idsIn('a.db'), await idsIn('b.db')]).toEqual([3, 0]);
    configFile = configure('sqlite: a.db');
    expect((await spool('move', '--to', at('b.db'))).code).toBe(0);
    expect([await idsIn('a.db'), await idsIn('b.db')]).toEqual([0, 3]);
  });

  it('that is stopped says how to go on, and another move has to wait', async () => {
    await fill('a.db');
    stop.abort();
    const { code, errors } = await spool('move', '--to', at('b.db'));
    expect([code, errors]).toEqual([75, 'You stopped it: run it again to go on']);
    stop = new AbortController();
    expect(await spool('move', '--to', at('c.db'))).toMatchObject({
      code: 78,
      errors: expect.stringContaining(`is being moved to ${at('b.db')}`) as string,
    });
    await fill('d.db');
    configFile = configure('sqlite: d.db');
    expect(await spool('move', '--to', at('b.db'))).toMatchObject({
      code: 78,
      errors: expect.stringContaining(`is being filled from ${at('a.db')}`) as string,
    });
    configFile = configure('sqlite: a.db');
    // Back is as good as on.
    expect((await spool('move', '--from', at('b.db'))).code).toBe(0);
    const back = await open('a.db');
    expect(await moveMark(back)).toBeUndefined();
    await back.close();
  });

  it('is over for a spool whose other one is lost', async () => {
    await fill('a.db');
    stop.abort();
    await spool('move', '--to', at('b.db'));
    stop = new AbortController();
    expect(await spool('move', '--give-up')).toMatchObject({
      code: 0,
      out: expect.stringContaining(at('b.db')) as string,
    });
    expect(await spool('move', '--give-up')).toMatchObject({
      code: 0,
      out: expect.stringContaining('No move') as string,
    });
  });

  it('knows a file under another name', async () => {
    await fill('a.db');
    writeFileSync(at('copy.db'), readFileSync(at('a.db')));
    expect((await spool('move', '--to', at('./x/../a.db'))).code).toBe(64);
    // A copy holds the same messages: they are known, and go.
    expect(await spool('move', '--to', at('copy.db'))).toMatchObject({
      code: 0,
      out: expect.stringContaining('3 of the messages had been put over before') as string,
    });
  });
});
