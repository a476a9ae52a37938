/**
 * The SMTP dialog under fire: sessions of valid, garbled and hostile commands over real sockets. Whatever comes, each
 * answer is well-formed, no session hangs, nothing is a bug, the server works afterwards, and a message that was accepted
 * has the recipients that were accepted for it.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import * as fc from 'fast-check';
import { canonicalAddress } from '../../src/mail/address.ts';
import { MESSAGE, SECRET_HASH, TestListener } from '../smtp/listener.ts';
import type { Setup } from '../smtp/listener.ts';
import { mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const TAIL = 'the very end';
const EVIL = 'evil@evil.test';
/** Milliseconds. */
const PATIENCE = 10_000;
const POOL = ['b1@x.test', 'b2@x.test', 'FAX=1@gw.test', '"q w"@x.test', 'B1@X.test'];

interface Step {
  readonly text: string;
  /** The recipient this RCPT is for. */
  readonly recipient?: string;
  /** Offsets in which it is cut into writes, as shares. */
  readonly cuts: readonly number[];
}

const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 });
const recipient = fc.constantFrom(...POOL);
const wrapped = recipient.chain((one) =>
  fc
    .constantFrom(
      `RCPT TO:<${one}>`,
      `rcpt to: <${one}>`,
      `RCPT TO:<${one}> NOTIFY=NEVER`,
      `RCPT TO:<@a,@b:${one}>`,
      `RCPT TO:${one}`,
    )
    .map((text) => ({ text, recipient: one })),
);
const words = fc.constantFrom(
  ...[
    'EHLO x',
    'HELO',
    'EHLO [1.2.3.4]',
    'MAIL FROM:<a@contoso.com>',
    'MAIL FROM:<>',
    'MAIL FROM:<a@contoso.com> SIZE=5 BODY=8BITMIME',
  ],
  ...[
    'MAIL FROM:<a@contoso.com> SIZE=99999999',
    'RSET',
    'NOOP',
    'VRFY x',
    'HELP',
    'DATA',
    'DATA',
    'QUIT',
    'STARTTLS',
    'AUTH PLAIN',
    'AUTH LOGIN',
    'AUTH PLAIN AHBieABzZWNyZXQ=',
    '*',
  ],
  ...[
    '',
    ' ',
    '\t',
    'MAIL',
    'RCPT',
    'MAIL FROM:',
    'RCPT TO:<',
    'RCPT TO:<>',
    'GET / HTTP/1.1',
    'XCLIENT ADDR=1.2.3.4',
    'PROXY TCP4 1.1.1.1 2.2.2.2 1 2',
    'BDAT 5 LAST',
    '\0',
    '.',
    '..',
    'EXPN',
    'TURN',
    'ETRN x',
    'SHELL',
    'LHLO x',
  ],
);
const garbage = fc.string({
  unit: fc.constantFrom('A', ' ', '<', '>', '@', ':', '\0', '\r', '\n', '\xff', '.', '=', '"', '\\', '{', '\x1b'),
  maxLength: 60,
});
const command = fc.oneof(
  { weight: 5, arbitrary: wrapped },
  { weight: 6, arbitrary: words.map((text) => ({ text })) },
  { weight: 2, arbitrary: fc.constantFrom('EHLO x', 'MAIL FROM:<a@contoso.com>').map((text) => ({ text })) },
  { weight: 1, arbitrary: garbage.map((text) => ({ text })) },
);
/** What another server may take for the end of a message, and a message behind it. */
const smuggled = fc
  .array(
    fc.constantFrom(
      ...[
        '\r\n',
        '\n',
        '\r',
        '.',
        '.',
        '..',
        '\0',
        'x',
        ' ',
        '\r\n.\r',
        '\n.\n',
        '\n.\r\n',
        '\r\n.\n',
        '\r.\r',
        '\r\n.\0\r\n',
      ],
      ...['\r\nQUIT\r\n', 'RSET\r\n', `MAIL FROM:<${EVIL}>\r\n`, `RCPT TO:<${EVIL}>\r\n`, 'DATA\r\n'],
      ...['Subject: x\r\n\r\n', 'Subject: x\n', '\xff', 'To: b1@x.test', '\u0085', '\r\n..\r\n'],
    ),
    { minLength: 1, maxLength: 14 },
  )
  .map((parts) => `Subject: x\r\n${parts.join('')}${TAIL}`);
const body = fc.oneof(
  fc.constantFrom(MESSAGE, 'To: b1@x.test, c@x.test\r\nBcc: b2@x.test\r\n\r\n.x\r\n', '\r\n', 'x', '\0\r\n', ''),
  smuggled,
);
const script = fc.record({
  steps: fc.array(
    fc.tuple(command, cuts).map(([step, where]): Step => ({ ...step, cuts: where })),
    { minLength: 1, maxLength: 12 },
  ),
  /** Everything at once, without waiting for an answer. */
  isBlast: fc.boolean(),
  end: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n'),
  body,
  bodyCuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 }),
});
type Script = typeof script extends fc.Arbitrary<infer T> ? T : never;

const SETUPS = {
  lenient: { lenient: true },
  strict: { lenient: false },
  'LF.LF': { lenient: true, lfEndOfData: true },
  login: { lenient: true, auth: 'optional', allowInsecureAuth: true, users: new Map([['pbx', SECRET_HASH]]) },
} as const satisfies Readonly<Record<string, Setup>>;
type Kind = keyof typeof SETUPS;

/** Reads replies; throws for what is none. */
class Replies {
  #text = '';
  #lines: string[] = [];
  isClosed = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      this.#text += chunk;
      const lines = this.#text.split('\r\n');
      this.#text = lines.pop() ?? '';
      this.#lines.push(...lines);
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** The last line of the next reply; undefined when the connection has ended. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const line = this.#lines.shift();
      if (line === undefined) {
        if (this.isClosed) return undefined;
        await this.#more();
        continue;
      }
      if (!/^[2-5]\d\d[ -][\x20-\x7e]*$/.test(line)) throw new Error(`not a reply: ${JSON.stringify(line)}`);
      if (line[3] === ' ') return line;
    }
  }

  async #more(): Promise<void> {
    const timer = Promise.withResolvers<void>();
    const late = setTimeout(() => timer.reject(new Error('the session hangs')), PATIENCE);
    this.#wake = timer.resolve;
    try {
      await timer.promise;
    } finally {
      clearTimeout(late);
    }
  }
}

function write(socket: Socket, text: string, where: readonly number[]): void {
  const octets = Buffer.from(text, 'latin1');
  const places = [...where.map((share) => Math.floor(share * octets.length)), octets.length].toSorted((a, b) => a - b);
  let start = 0;
  for (const place of places) {
    if (place > start && socket.writable) socket.write(octets.subarray(start, place));
    start = place;
  }
}

/** As RFC 5321 section 4.5.2 has it sent: what comes before this end is the message, whatever it holds. */
function stuffed(text: string): string {
  const whole = text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`;
  return `${whole.replace(/^\.|(?<=\r\n)\./g, '..')}.\r\n`;
}

async function play(
  kind: Kind,
  listener: TestListener,
  { steps, isBlast, end, body: text, bodyCuts }: Script,
): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port: listener.port, noDelay: true });
  const replies = new Replies(socket);
  await once(socket, 'connect');
  try {
    if (isBlast) {
      for (const { text: line, cuts: where } of steps) write(socket, line + end, where);
      socket.end(`${end}.\r\nQUIT\r\n`);
      while ((await replies.next()) !== undefined);
      return;
    }
    await replies.next();
    let accepted: string[] | undefined = [];
    for (const { text: line, recipient: whom, cuts: where } of steps) {
      // What holds line ends is several commands: then it is not known which answer belongs to which.
      const isOne = !/[\r\n]/.test(line) && line !== '';
      if (!isOne) accepted = undefined;
      write(socket, line + end, where);
      if (accepted === undefined) continue;
      let reply = await replies.next();
      if (reply?.startsWith('334')) {
        write(socket, '*\r\n', []);
        reply = await replies.next();
      }
      if (reply === undefined) return;
      const isDone = reply.startsWith('250');
      if (isDone && whom !== undefined) accepted.push(whom);
      else if (isDone && /^\s*(RSET|EHLO|HELO|LHLO|MAIL)/i.test(line)) accepted = [];
      if (reply.startsWith('221') || reply.startsWith('421')) break;
      if (!reply.startsWith('354')) continue;
      write(socket, stuffed(text), bodyCuts);
      const answer = await replies.next();
      const id = /^250 2\.0\.0 queued as (\S+)/.exec(answer ?? '')?.[1];
      if (id === undefined) {
        accepted = undefined;
        continue;
      }
      const message = listener.inject.messages.find((one) => one.id === id);
      mustHold(
        kind === 'LF.LF' || !text.includes(TAIL) || message?.octets.includes(TAIL) === true,
        'a message ended before its end',
      );
      const got = message?.envelope.recipients.map((one) => canonicalAddress(one.address));
      // Named twice, told once.
      const wanted = [...new Set(accepted.map(canonicalAddress))];
      mustHold(
        JSON.stringify(got) === JSON.stringify(wanted),
        `accepted for ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`,
      );
      accepted = [];
    }
    // `.` and QUIT end whatever state the session is in.
    if (!replies.isClosed) socket.end('\r\n.\r\nQUIT\r\n');
    while ((await replies.next()) !== undefined);
  } finally {
    socket.destroy();
  }
}

/** Kept between inputs while a target runs. */
const open = new Map<Kind, TestListener>();

function start(kind: Kind): Promise<TestListener> {
  return new TestListener().start({ ...SETUPS[kind], maxConnections: 200, maxErrors: 1_000 });
}

/** Several at a time: a session may not disturb another. */
export async function sessionsHold(kind: Kind, scripts: readonly Script[]): Promise<void> {
  const listener = open.get(kind) ?? (await start(kind));
  try {
    await Promise.all(scripts.map((one) => play(kind, listener, one)));
    const bug = listener.events.find((event) => event.event === 'bug');
    if (bug?.event === 'bug') throw bug.error;
    for (const { octets, envelope } of listener.inject.messages) {
      mustHold(!/\r(?!\n)|(?<!\r)\n/.test(octets.toString('latin1')), 'a bare line end was stored');
      const named = [envelope.reversePath, ...envelope.recipients.map((one) => one.address)];
      mustHold(kind === 'LF.LF' || !named.includes(EVIL), 'a message was smuggled');
    }
  } finally {
    listener.events.splice(1);
    listener.inject.messages.splice(0);
    listener.inject.drafts.splice(0);
    if (!open.has(kind)) await listener.end();
  }
}

const AT_ONCE = 8;
const kinds = Object.keys(SETUPS) as Kind[];
const sessions = target(
  'SMTP sessions',
  0.085,
  'sessionsHold',
  [fc.constantFrom(...kinds), fc.array(script, { minLength: AT_ONCE, maxLength: AT_ONCE })],
  sessionsHold,
  AT_ONCE,
);

export const DIALOG_TARGET: Target = {
  ...sessions,
  async run(count, seed) {
    try {
      for (const kind of kinds) open.set(kind, await start(kind));
      await sessions.run(count, seed);
      // After all that, each still serves.
      for (const listener of open.values()) (await listener.session()).destroy();
    } finally {
      await Promise.all([...open.values()].map((listener) => listener.end()));
      open.clear();
    }
  },
};
