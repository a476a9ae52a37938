/** The control door from its other end: real sockets, operations that only note what was asked. */
import { linkSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Unreachable, controlClient } from '../../src/commands/control-client.ts';
import type { Control } from '../../src/console/control.ts';
import { controlPath, openControl } from '../../src/console/control.ts';
import type { ActOrder, Operations } from '../../src/console/operations.ts';
import { PAGE } from '../../src/console/wire.ts';
import type { Event } from '../../src/mail/event.ts';
import type { ListFilter } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';

let place: string;
let events: Event[];
let doors: Control[];
const asked: { filters: ListFilter[]; orders: ActOrder[] } = { filters: [], orders: [] };

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 's2x-'));
  events = [];
  doors = [];
  asked.filters = [];
  asked.orders = [];
});

afterEach(async () => {
  for (const door of doors) await door.stop();
  rmSync(place, { recursive: true, force: true });
});

const nothing: Operations = {
  list: async (filter) => {
    asked.filters.push(filter);
    return [];
  },
  show: async () => undefined,
  read: async () => 'absent',
  act: async (order) => {
    asked.orders.push(order);
    return order.ids.map(() => 'done' as const);
  },
  check: async () => ({ checked: 0, damaged: [] }),
};

async function open(operations: Partial<Operations> = {}, folder = place): Promise<Control> {
  const door = await openControl({
    folder,
    spool: join(folder, 'spool.db'),
    operations: { ...nothing, ...operations },
    routes: ['exchange'],
    report: (event) => events.push(event),
    version: '1.2.3',
  });
  doors.push(door);
  return door;
}

const socket = (): string => join(place, 'control.sock');
const client = () => controlClient(socket());

/** Says something that is no request of the client's. @returns the status line */
async function raw(text: string): Promise<string> {
  const connection = connect(socket());
  let answer = '';
  connection.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
  connection.on('error', () => undefined);
  await once(connection, 'connect');
  connection.write(text);
  await once(connection, 'close');
  return answer.split('\r\n')[0] ?? '';
}

const post = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

describe('the door', () => {
  it('is in the folder it is given, opens for its own user only, and says whose it is', async () => {
    await open();
    expect(controlPath(place)).toBe(socket());
    expect(statSync(socket()).mode & 0o777).toBe(0o600);
    expect(events).toEqual([{ event: 'control.open', where: socket() }]);
    expect(await client().greet()).toEqual({
      program: 'smtp2exchange',
      version: '1.2.3',
      listening: [],
      spool: join(place, 'spool.db'),
    });
  });

  it('leaves the mask of the process as it was', async () => {
    const before = process.umask();
    await open();
    expect(process.umask()).toBe(before);
  });

  it('is gone after the stop, which can be asked for twice', async () => {
    const door = await open();
    await Promise.all([door.stop(), door.stop()]);
    await expect(client().greet()).rejects.toThrow(Unreachable);
    expect(() => statSync(socket())).toThrow('ENOENT');
  });

  it('replaces what a crash left', async () => {
    const crashed = createServer();
    crashed.listen(socket());
    await once(crashed, 'listening');
    linkSync(socket(), `${socket()}.kept`);
    crashed.close();
    await once(crashed, 'close');
    renameSync(`${socket()}.kept`, socket());
    await open();
    expect(events.map(({ event }) => event)).toEqual(['control.open']);
    expect((await client().greet()).program).toBe('smtp2exchange');
  });

  it('leaves another gateway alone, and says so', async () => {
    await open();
    const second = await open();
    expect(events[1]).toMatchObject({
      event: 'control.failed',
      reason: expect.stringContaining('another gateway') as string,
    });
    await second.stop();
    expect((await client().greet()).version).toBe('1.2.3');
  });

  it('leaves a file alone that is no socket, and says so', async () => {
    writeFileSync(socket(), 'mine');
    await open();
    expect(events).toMatchObject([
      { event: 'control.failed', reason: `${socket()} is there and is no socket; move it away` },
    ]);
    expect(readFileSync(socket(), 'utf8')).toBe('mine');
  });

  it('is told to be missing where its path is too long for the system', async () => {
    const folder = join(place, 'x'.repeat(100));
    await open({}, folder);
    expect(events).toMatchObject([
      { event: 'control.failed', reason: expect.stringContaining('choose a shorter folder') as string },
    ]);
    await expect(controlClient(controlPath(folder)).greet()).rejects.toThrow(Unreachable);
  });

  it('is told to be missing where the folder cannot be written', async () => {
    await open({}, join(place, 'nowhere'));
    expect(events).toMatchObject([
      { event: 'control.failed', reason: expect.stringContaining('cannot be opened') as string },
    ]);
  });
});

describe('a request', () => {
  it('carries every part of a filter', async () => {
    await open();
    const filter: ListFilter = {
      states: ['queued', 'parked'],
      ids: ['01k9z8', '01k9z9'],
      route: 'exchange',
      mailbox: 'a b&c=d@contoso.com',
      sender: '',
      recipient: '*@pbx.local',
      messageId: '<a%20b@c>',
      arrivedFrom: 1,
      arrivedBefore: 2,
      after: '01k9z7',
      limit: 7,
    };
    await client().list(filter);
    expect(asked.filters).toEqual([filter]);
  });

  it('of a list is bounded', async () => {
    await open();
    await client().list({ limit: 1_000_000 });
    await client().list({});
    expect(asked.filters).toEqual([{ limit: PAGE }, { limit: PAGE }]);
  });

  it('carries an order; who asks is one short line', async () => {
    await open();
    const to = { route: 'exchange', mailbox: 'Other@Contoso.com' };
    const by = `root\u001b[31m\r\n${'x'.repeat(200)}`;
    expect(await client().act({ act: 'move', ids: ['01k9z8', '01k9z9'], by, to, stays: true })).toEqual([
      'done',
      'done',
    ]);
    expect(asked.orders).toMatchObject([{ act: 'move', stays: true, to: { ...to, mailbox: 'other@contoso.com' } }]);
    expect(asked.orders[0]?.by).toMatch(/^root \[31m x{40,}$/);
    expect(asked.orders[0]?.by.length).toBe(64);
  });

  it.each([
    ['an unknown act', { act: 'explode', ids: ['a'] }, 'the act is not known'],
    ['no list of ids', { act: 'retry', ids: 'a' }, 'a list of ids'],
    ['an id that is none', { act: 'retry', ids: ['../x'] }, 'a list of ids'],
    ['too many ids', { act: 'retry', ids: Array.from({ length: PAGE + 1 }, () => 'a') }, 'more than'],
    ['a move to nowhere', { act: 'move', ids: ['a'] }, 'needs a mailbox or a route'],
    ['a move to an unknown route', { act: 'move', ids: ['a'], to: { route: 'moon' } }, 'there is no such route'],
    [
      'a move to what is no mailbox',
      { act: 'move', ids: ['a'], to: { mailbox: 'a@b\nexchange' } },
      'no e-mail address',
    ],
  ])('with %s does nothing', async (_, order, why) => {
    await open();
    await expect(client().act(order as unknown as ActOrder)).rejects.toThrow(why);
    expect(asked.orders).toEqual([]);
    expect(events).toHaveLength(1);
  });

  it.each([
    ['GET /v1/items?state=strange HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ['GET /v1/items?limit=-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ['GET /v1/items?colour=red HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ['GET /v1/items/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['DELETE /v1/items HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['GET // HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    [post('/v1/acts', 'no JSON'), 400],
    [post('/v1/acts', 'null'), 400],
    [post('/v1/acts', JSON.stringify({ act: 'retry', ids: [], by: 'x'.repeat(100_000) })), 400],
    ['EHLO x\r\n\r\n', 400],
  ])('that is none (%#) is answered, and does nothing', async (text, status) => {
    await open();
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(asked.orders).toEqual([]);
    expect(events).toHaveLength(1);
  });

  it('meets a store in trouble: the sentence reaches the operator, with exit code 75', async () => {
    await open({ list: () => Promise.reject(new SpoolError('full', 'The disk of the spool is full')) });
    await expect(client().list({})).rejects.toMatchObject({
      message: 'The gateway says: The disk of the spool is full',
      exitCode: 75,
    });
    expect(events).toHaveLength(1);
  });

  it('that meets a bug is told without details, and the log has them', async () => {
    const error = new Error('inner detail');
    await open({ show: () => Promise.reject(error) });
    await expect(client().show('01k9z8')).rejects.toThrow('the log line "bug"');
    expect(events[1]).toEqual({ event: 'bug', where: 'control', error });
  });
});

describe('a message', () => {
  const parts = Array.from({ length: 40 }, (_, n) => Buffer.alloc(100_000, n));

  async function take(): Promise<Buffer> {
    const body = await client().read('01k9z8', 'root');
    if (typeof body === 'string') throw new Error(body);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body.octets) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  it('comes as it is, though the spool uses the memory of a chunk again', async () => {
    const octets = async function* (): AsyncGenerator<Uint8Array> {
      for (const part of parts) {
        const lent = Buffer.from(part);
        yield lent;
        lent.fill(0xff);
      }
    };
    await open({ read: async () => ({ size: 4_000_000, octets: octets() }) });
    expect((await take()).equals(Buffer.concat(parts))).toBe(true);
  });

  it('that cannot be read is a sentence', async () => {
    // oxlint-disable-next-line require-yield -- it fails before the first chunk
    const octets = async function* (): AsyncGenerator<Uint8Array> {
      throw new SpoolError('damaged', 'The body is damaged');
    };
    await open({ read: async () => ({ size: 5, octets: octets() }) });
    await expect(client().read('01k9z8', 'root')).rejects.toThrow('The body is damaged');
  });

  it('that cannot be read to its end never looks whole', async () => {
    const octets = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(10);
      yield Buffer.alloc(10);
      throw new SpoolError('damaged', 'The body is damaged');
    };
    await open({ read: async () => ({ size: 30, octets: octets() }) });
    await expect(take()).rejects.toThrow();
  });

  it.each(['absent', 'gone'] as const)('that is %s is told to be so', async (answer) => {
    await open({ read: async () => answer });
    expect(await client().read('01k9z8', 'root')).toBe(answer);
  });
});
