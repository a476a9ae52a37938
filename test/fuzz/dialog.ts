/**
 * The SMTP dialog under fire: sessions of valid, garbled and hostile commands over real sockets. Whatever comes, each
 * answer is well-formed, no session hangs, nothing is a bug, the server works afterwards, and a message that was accepted
 * has the recipients that were accepted for it.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import * as fc from 'fast-check';
import { canonicalAddress } from '../../src/mail/addresses.ts';
import { MESSAGE, SECRET_HASH, TestListener } from '../smtp/listener.ts';
import type { Setup } from '../smtp/listener.ts';
import type { Target } from './targets.ts';

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
const script = fc.record({
  steps: fc.array(
    fc.tuple(command, cuts).map(([step, where]): Step => ({ ...step, cuts: where })),
    { minLength: 1, maxLength: 12 },
  ),
  /** Everything at once, without waiting for an answer. */
  isBlast: fc.boolean(),
  end: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n'),
  body: fc.constantFrom(
    MESSAGE,
    'To: b1@x.test, c@x.test\r\nBcc: b2@x.test\r\n\r\n..x\r\n',
    'Subject: x\n\n\n.\r\ny\r\n',
    '\r\n',
    'x',
    '\0\r\n',
  ),
});
type Script = typeof script extends fc.Arbitrary<infer T> ? T : never;

const SETUPS: readonly Setup[] = [
  { lenient: true },
  { lenient: false },
  { lenient: true, lfEndOfData: true },
  { lenient: true, auth: 'optional', allowInsecureAuth: true, users: new Map([['pbx', SECRET_HASH]]) },
];

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

async function play(listener: TestListener, { steps, isBlast, end, body }: Script): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port: listener.port, noDelay: true });
  const replies = new Replies(socket);
  await once(socket, 'connect');
  try {
    if (isBlast) {
      for (const { text, cuts: where } of steps) write(socket, text + end, where);
      socket.end(`${end}.\r\nQUIT\r\n`);
      while ((await replies.next()) !== undefined);
      return;
    }
    await replies.next();
    let accepted: string[] | undefined = [];
    for (const { text, recipient: whom, cuts: where } of steps) {
      // What holds line ends is several commands: then it is not known which answer belongs to which.
      const isOne = !/[\r\n]/.test(text) && text !== '';
      if (!isOne) accepted = undefined;
      write(socket, text + end, where);
      if (!isOne) continue;
      if (accepted === undefined) continue;
      let reply = await replies.next();
      if (reply?.startsWith('334')) {
        write(socket, '*\r\n', []);
        reply = await replies.next();
      }
      if (reply === undefined) return;
      const isDone = reply.startsWith('250');
      if (isDone && whom !== undefined) accepted.push(whom);
      else if (isDone && /^\s*(RSET|EHLO|HELO|LHLO|MAIL)/i.test(text)) accepted = [];
      if (reply.startsWith('221') || reply.startsWith('421')) break;
      if (!reply.startsWith('354')) continue;
      write(socket, `${body}${body.endsWith('\n') ? '' : '\r\n'}.\r\n`, where);
      const answer = await replies.next();
      const id = /^250 2\.0\.0 queued as (\S+)/.exec(answer ?? '')?.[1];
      if (id === undefined) {
        accepted = undefined;
        continue;
      }
      const got = listener.inject.messages
        .find((message) => message.id === id)
        ?.envelope.recipients.map((one) => canonicalAddress(one.address));
      // Named twice, told once.
      const wanted = [...new Set(accepted.map(canonicalAddress))];
      if (JSON.stringify(got) !== JSON.stringify(wanted))
        throw new Error(`accepted for ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
      accepted = [];
    }
    // `.` and QUIT end whatever state the session is in.
    if (!replies.isClosed) socket.end('\r\n.\r\nQUIT\r\n');
    while ((await replies.next()) !== undefined);
  } finally {
    socket.destroy();
  }
}

export const DIALOG: Target = {
  name: 'SMTP sessions',
  share: 0.08,
  async run(count, seed) {
    for (const [index, setup] of SETUPS.entries()) {
      const listener = await new TestListener().start({ ...setup, maxConnections: 200, maxErrors: 1_000 });
      try {
        // Several at a time in one property: a session may not disturb another.
        const many = fc.array(script, { minLength: 8, maxLength: 8 });
        await fc.assert(
          fc.asyncProperty(many, async (scripts) => {
            await Promise.all(scripts.map((one) => play(listener, one)));
            const bug = listener.events.find((event) => event.event === 'bug');
            listener.events.splice(1);
            listener.inject.messages.splice(0);
            if (bug?.event === 'bug') throw bug.error;
          }),
          { numRuns: Math.ceil(count / SETUPS.length / 8), seed: seed + index },
        );
        const session = await listener.session();
        session.destroy();
      } finally {
        await listener.end();
      }
    }
  },
};
