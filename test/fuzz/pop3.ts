/**
 * The POP3 dialogue under fire: valid, garbled and hostile commands over real sockets, cut anywhere, waited for or all at
 * once. Whatever comes: each line gets exactly one well-formed answer, a message comes whole, nothing hangs, nothing is a
 * bug, and what is deleted is what was marked when a QUIT was answered with OK, and nothing else.
 */
import * as fc from 'fast-check';
import { MemoryMaildrop } from '../legacy/maildrop.ts';
import { TestDoor } from '../legacy/pop3-door.ts';
import type { Client } from '../legacy/pop3-door.ts';
import { mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const MESSAGES = { one: 'A: b\r\n\r\n.\r\n..x\r\nend', two: '\n.\n\r.', three: '' } as const;
const IDS = Object.keys(MESSAGES);
const WIRE = Object.values(MESSAGES).map((text) => {
  const whole = text.replace(/\r\n|\r|\n/g, '\r\n');
  return whole === '' || whole.endsWith('\r\n') ? whole : `${whole}\r\n`;
});
/** Errors a connection may make. */
const MOST_ERRORS = 6;

const number = fc.constantFrom('1', '2', '3', '4', '0', '01', '-1', 'x', '', '99999999999', '1 1');
const plain = (text: string): string => Buffer.from(text).toString('base64');
const words = fc.constantFrom(
  ...['STAT', 'LIST', 'UIDL', 'NOOP', 'RSET', 'CAPA', 'QUIT', 'QUIT', 'stat', 'uidl ', 'Quit\t'],
  ...['USER fax', 'PASS se cret', 'PASS guess', 'PASS', 'USER', 'STLS', 'STLS x', 'APOP fax 0', 'AUTH', 'AUTH PLAIN'],
  ...[`AUTH PLAIN ${plain('\0fax\0se cret')}`, plain('\0fax\0se cret'), 'AUTH PLAIN =', '*', 'AUTH PLAIN !'],
  ...['', ' ', '.', '..', '\0', '\r', '\xff\xfe', ' QUIT', 'GET / HTTP/1.1', 'x'.repeat(511), 'x'.repeat(3_000)],
);
const numbered = fc
  .tuple(fc.constantFrom('RETR', 'DELE', 'DELE', 'LIST', 'UIDL', 'TOP', 'dele'), fc.constantFrom(' ', '  ', ''), number)
  .map(([verb, blank, which]) => `${verb}${blank}${which}${verb === 'TOP' ? ' 1' : ''}`);
const garbage = fc.string({
  unit: fc.constantFrom('A', 'QUIT', 'DELE 1', ' ', '\0', '\r', '\n', '\r\n', '\xff', '.', '=', '\x1b', '1'),
  maxLength: 20,
});
const script = fc.record({
  isIn: fc.boolean(),
  lines: fc.array(
    fc.oneof({ weight: 5, arbitrary: numbered }, { weight: 5, arbitrary: words }, { weight: 1, arbitrary: garbage }),
    { minLength: 1, maxLength: 14 },
  ),
  end: fc.constantFrom('\r\n', '\r\n', '\n'),
  /** Everything at once, without waiting for an answer. */
  isBlast: fc.boolean(),
  /** Offsets in which it is cut into writes, as shares. */
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
});
type Script = typeof script extends fc.Arbitrary<infer T> ? T : never;

const MULTI = /^(?:CAPA(?:\s|$)|(?:LIST|UIDL)\s*$|RETR |TOP )/i;

/** What a client knows of its session from the answers alone. */
class Model {
  readonly marked = new Set<string>();
  /** Deleted for certain; undefined: nothing yet. */
  deleted: readonly string[] = [];
  isOver = false;
  #isResponse = false;

  async hear(line: string, client: Client): Promise<void> {
    const isResponse = this.#isResponse;
    const status = await client.line();
    mustHold(/^(?:(?:\+OK|-ERR)(?: [\x20-\x7e]+)?|\+ )$/.test(status), `not an answer: ${JSON.stringify(status)}`);
    this.#isResponse = status === '+ ';
    this.isOver = status.startsWith('-ERR Too many refused');
    if (isResponse || !status.startsWith('+OK')) return;
    if (MULTI.test(line)) this.#body(line, await client.body());
    const [, verb = '', argument = ''] = /^(\w+)(?: +(.*?))?\s*$/s.exec(line) ?? [];
    switch (verb.toUpperCase()) {
      case 'DELE':
        mustHold(IDS[Number(argument) - 1] !== undefined, `deleted ${argument}`);
        this.marked.add(IDS[Number(argument) - 1] ?? '');
        break;
      case 'RSET':
        this.marked.clear();
        break;
      case 'QUIT':
        this.deleted = IDS.filter((id) => this.marked.has(id));
        this.isOver = true;
        break;
      case 'STLS':
        // The handshake is another matter.
        this.isOver = true;
    }
  }

  #body(line: string, body: string): void {
    mustHold(!/\r(?!\n)|(?<!\r)\n/.test(body), 'a bare line end');
    if (!/^RETR/i.test(line)) return;
    const got = body.replace(/^\./gm, '');
    const wanted = WIRE[Number(line.slice(4)) - 1];
    mustHold(got === wanted, `RETR gave ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
  }
}

function write(client: Client, text: string, cuts: readonly number[]): void {
  const places = [...cuts.map((share) => Math.floor(share * text.length)), text.length].toSorted((a, b) => a - b);
  let start = 0;
  for (const place of places) {
    if (place > start && client.socket.writable) client.write(text.slice(start, place));
    start = place;
  }
}

/** @param door with nothing but this session on the user's mailbox */
async function play(door: TestDoor, { isIn, lines, end, isBlast, cuts }: Script): Promise<void> {
  const { maildrop } = door;
  maildrop.messages.clear();
  for (const [id, text] of Object.entries(MESSAGES)) maildrop.messages.set(id, Buffer.from(text));
  const client = await door.connect();
  await client.line();
  const model = new Model();
  const all = [...(isIn ? ['USER fax', 'PASS se cret'] : []), ...lines].join(end) + end;
  // What holds line ends is several commands.
  const commands = all
    .split('\n')
    .slice(0, -1)
    .map((line) => line.replace(/\r$/, ''));
  if (isBlast) write(client, all, cuts);
  let rest = all;
  for (const command of commands) {
    if (!isBlast) {
      const length = rest.indexOf('\n') + 1;
      write(client, rest.slice(0, length), cuts);
      rest = rest.slice(length);
    }
    await model.hear(command, client);
    if (model.isOver) break;
  }
  client.socket.end();
  await client.closed();
  mustHold(client.unread === '', `more answers than commands: ${JSON.stringify(client.unread)}`);
  const kept = IDS.filter((id) => !model.deleted.includes(id));
  mustHold(
    JSON.stringify([...maildrop.messages.keys()]) === JSON.stringify(kept),
    `${JSON.stringify([...maildrop.messages.keys()])} are left instead of ${JSON.stringify(kept)}`,
  );
  mustHold(maildrop.opened === 0, 'a message was not let go');
  const bug = door.told('bug')[0];
  if (bug !== undefined) throw bug.error;
  door.events.splice(1);
}

/** Kept between inputs while the target runs. */
const open: TestDoor[] = [];
const AT_ONCE = 8;

function start(): Promise<TestDoor> {
  return new TestDoor(new MemoryMaildrop()).start({ tls: 'optional', maxErrors: MOST_ERRORS });
}

/** Several at a time, each at a door of its own. */
export async function pop3SessionsHold(scripts: readonly Script[]): Promise<void> {
  const own: TestDoor[] = [];
  try {
    await Promise.all(
      scripts.map(async (one, at) => {
        let door = open[at];
        if (door === undefined) own.push((door = await start()));
        await play(door, one);
      }),
    );
  } finally {
    await Promise.all(own.map((door) => door.end()));
  }
}

const sessions = target(
  'POP3 sessions',
  0.02,
  'pop3SessionsHold',
  [fc.array(script, { minLength: AT_ONCE, maxLength: AT_ONCE })],
  pop3SessionsHold,
  AT_ONCE,
);

export const POP3_TARGET: Target = {
  ...sessions,
  async run(count, seed) {
    try {
      for (let at = 0; at < AT_ONCE; at++) open.push(await start());
      await sessions.run(count, seed);
      // After all that, each still serves.
      for (const door of open) (await door.login()).socket.destroy();
    } finally {
      await Promise.all(open.splice(0).map((door) => door.end()));
    }
  },
};
