/** The dialogue, line by line: what each command is answered in each state, and what comes of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SpoolError } from '../../src/mail/spool.ts';
import { Session } from '../../src/legacy/pop3-session.ts';
import type { Pop3Options, Pop3Parts } from '../../src/legacy/pop3-options.ts';
import type { Event } from '../../src/mail/event.ts';
import { MemoryMaildrop } from './maildrop.ts';
import { MESSAGE, OPTIONS } from './pop3-door.ts';

const LONG = `${'x'.repeat(70)}`;
const TWO = { first: MESSAGE, [LONG]: 'A: b\n\n.\n' } as const;
const PLAIN = Buffer.from('\0fax\0se cret').toString('base64');
const IN = ['USER fax', 'PASS se cret'];

let maildrop: MemoryMaildrop;
let events: Event[];
let inUse: Set<string>;

beforeEach(() => {
  maildrop = new MemoryMaildrop(TWO);
  events = [];
  inUse = new Set();
});

type Setup = Partial<Pop3Options> &
  Partial<Pick<Pop3Parts, 'logins' | 'exclude'>> & { isSecure?: boolean; peer?: string };

function session({ logins, exclude, isSecure = false, peer = '127.0.0.1', ...own }: Setup = {}): Session {
  const options = { ...OPTIONS, ...own };
  const parts: Pop3Parts = {
    maildrops: new Map([['fax', maildrop]]),
    isPassword: async (user, password) => user === 'fax' && password === 'se cret',
    logins: logins ?? {
      banned: () => undefined,
      failed: () => ({ delay: 0, failures: 1 }),
      succeeded: () => undefined,
    },
    report: (event) => events.push(event),
    inUse,
    ...(exclude && { exclude }),
  };
  const shared = { options, parts, sizes: new Map(), allowsPlain: (one: string) => one === '127.0.0.1' };
  return new Session(shared, { peer, isSecure, gone: new AbortController().signal });
}

/** The answer to each line as text, a body behind its first line; what the connection does in brackets. */
async function talk(one: Session, lines: readonly string[]): Promise<string[]> {
  const answers: string[] = [];
  for (const line of lines) {
    const { status, body, next } = await one.answer(Buffer.from(line));
    let text = status;
    for await (const piece of body ?? []) text += `|${piece.toString('latin1')}`;
    answers.push(`${text}${next === undefined ? '' : ` [${next}]`}`);
  }
  return answers;
}

describe('before the login', () => {
  it.each([
    [
      'CAPA',
      /^\+OK .*\|TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUSER\r\nSASL PLAIN\r\nIMPLEMENTATION smtp2exchange\r\n\|\.\r\n$/,
    ],
    ['capa', /^\+OK /],
    ['QUIT', /^\+OK Bye \[close\]$/],
    ['quit ', /^\+OK Bye \[close\]$/],
    ['USER nobody', /^\+OK/],
    ['USER', /^-ERR USER wants/],
    ['PASS x', /^-ERR USER first$/],
    ['STAT', /^-ERR Log in first$/],
    ['DELE 1', /^-ERR Log in first$/],
    ['NOOP', /^-ERR Log in first$/],
    ['STLS', /^-ERR There is no TLS here$/],
    ['AUTH', /^-ERR AUTH PLAIN/],
    ['AUTH CRAM-MD5', /^-ERR AUTH PLAIN/],
    ['APOP fax c4c9334bac560ecc979e58001b3e22fb', /^-ERR Unknown command$/],
    ['', /^-ERR Unknown command$/],
    [' QUIT', /^-ERR Unknown command$/],
    ['QUITT', /^-ERR Unknown command$/],
    ['\0\xff', /^-ERR Unknown command$/],
    ['GET / HTTP/1.1', /^-ERR Unknown command$/],
  ])('%j is answered %s', async (line, answer) => {
    const [said = ''] = await talk(session(), [line]);
    expect(said).toMatch(answer);
  });
});

describe('a login', () => {
  it.each([
    ['USER and PASS', IN],
    ['lower case', ['user fax', 'pass se cret']],
    ['AUTH PLAIN at once', [`AUTH PLAIN ${PLAIN}`]],
    ['AUTH PLAIN in two', ['AUTH PLAIN', PLAIN]],
    ['AUTH PLAIN for oneself', [`auth plain ${Buffer.from('fax\0fax\0se cret').toString('base64')}`]],
    ['after a wrong password', ['USER fax', 'PASS guess', ...IN]],
  ])('by %s', async (_name, lines) => {
    const one = session();
    const answers = await talk(one, lines);
    expect(answers.at(-1)).toBe('+OK 2 messages');
    expect(one.isLoggedIn).toBe(true);
    expect(inUse).toEqual(new Set(['fax']));
    expect(events.at(-1)).toMatchObject({
      event: 'auth.succeeded',
      user: 'fax',
      mechanism: /AUTH/i.test(lines[0] ?? '') ? 'PLAIN' : 'USER',
    });
  });

  it.each([
    ['a wrong password', ['USER fax', 'PASS guess'], /^-ERR \[AUTH\]/],
    ['a password with a blank too many', ['USER fax', 'PASS se cret '], /^-ERR \[AUTH\]/],
    ['a password with a blank too few', ['USER fax', 'PASS secret'], /^-ERR \[AUTH\]/],
    ['no password', ['USER fax', 'PASS'], /^-ERR \[AUTH\]/],
    ['an unknown user', ['USER nobody', 'PASS se cret'], /^-ERR \[AUTH\]/],
    ['a second PASS', ['USER fax', 'PASS guess', 'PASS se cret'], /^-ERR USER first/],
    ['AUTH for another', [`AUTH PLAIN ${Buffer.from('x\0fax\0se cret').toString('base64')}`], /^-ERR \[AUTH\]/],
    ['AUTH given up', ['AUTH PLAIN', '*'], /^-ERR AUTH is given up/],
    ['AUTH with garbage', ['AUTH PLAIN', '!!'], /^-ERR Cannot read/],
    ['AUTH with nothing', ['AUTH PLAIN', ''], /^-ERR Cannot read/],
    ['AUTH with an empty initial response', ['AUTH PLAIN ='], /^-ERR Cannot read/],
  ])('does not succeed by %s', async (_name, lines, answer) => {
    const one = session();
    expect((await talk(one, lines)).at(-1)).toMatch(answer);
    expect(one.isLoggedIn).toBe(false);
    expect(inUse).toEqual(new Set());
    expect(JSON.stringify(events)).not.toMatch(/se cret|guess|secret/);
  });

  it.each([
    [{ tls: 'none' }, '-ERR No password in the clear from there'],
    [{ tls: 'optional' }, '-ERR STLS first: no password in the clear'],
  ] as const)('in the clear is refused from elsewhere, %j', async (setup, refusal) => {
    const one = session({ ...setup, peer: '192.0.2.1' });
    expect(await talk(one, ['USER fax', 'PASS x', 'AUTH PLAIN', `AUTH PLAIN ${PLAIN}`])).toEqual(
      Array.from({ length: 4 }, () => refusal),
    );
    expect((await talk(one, ['CAPA']))[0]).not.toMatch(/USER|SASL/);
    expect(events.map((event) => event.event === 'session.refused' && event.refusal)).toEqual(
      Array.from({ length: 4 }, () => 'tls'),
    );
  });

  it('in the clear is refused from everywhere with tls: required, and taken with TLS', async () => {
    const one = session({ tls: 'required' });
    expect(await talk(one, ['USER fax', 'STLS'])).toEqual([
      '-ERR STLS first: no password in the clear',
      '+OK Begin TLS [tls]',
    ]);
    one.secured();
    expect(await talk(one, [...IN, 'STLS'])).toEqual([
      '+OK Now the password',
      '+OK 2 messages',
      '-ERR Logged in already',
    ]);
  });

  it('begins anew after STLS', async () => {
    const one = session({ tls: 'optional' });
    await talk(one, ['USER fax', 'STLS']);
    one.secured();
    expect(await talk(one, ['PASS se cret', 'STLS'])).toEqual(['-ERR USER first', '-ERR TLS is there already']);
  });

  it('is refused while the mailbox has another session, and its password is not told', async () => {
    const first = session();
    const second = session();
    await talk(first, IN);
    expect(await talk(second, IN)).toEqual([
      '+OK Now the password',
      '-ERR [IN-USE] Another session has this mailbox open',
    ]);
    expect(await talk(second, ['USER fax', 'PASS guess'])).toEqual([
      '+OK Now the password',
      '-ERR [AUTH] User name or password is wrong',
    ]);
    first.end();
    expect((await talk(second, IN)).at(-1)).toBe('+OK 2 messages');
    // One that never had it gives nothing back.
    first.end();
    expect(inUse).toEqual(new Set(['fax']));
  });

  it('is refused while the mailbox cannot be read, and the mailbox is free then', async () => {
    maildrop.trouble.list = new SpoolError('io', 'disk');
    const one = session();
    expect((await talk(one, IN)).at(-1)).toBe('-ERR [SYS/TEMP] The mailbox cannot be read at the moment');
    delete maildrop.trouble.list;
    expect((await talk(one, IN)).at(-1)).toBe('+OK 2 messages');
  });

  it('that fails is counted, held back and banned', async () => {
    let failures = 0;
    const logins: Pop3Parts['logins'] = {
      banned: () => (failures > 1 ? 1_900_000_000_000 : undefined),
      failed: () => (++failures > 1 ? { delay: 20, failures, bannedUntil: 1_900_000_000_000 } : { delay: 0, failures }),
      succeeded: () => undefined,
    };
    const one = session({ logins });
    const begun = performance.now();
    const answers = await talk(one, ['USER fax', 'PASS a', 'USER fax', 'PASS b', ...IN]);
    expect(performance.now() - begun).toBeGreaterThan(15);
    expect(answers.at(-1)).toBe(
      '-ERR [SYS/TEMP] Too many failed logins from 127.0.0.1: try again after 2030-03-17T17:46:40Z [close]',
    );
    expect(events.map(({ event }) => event)).toEqual([
      'auth.failed',
      'session.refused',
      'auth.failed',
      'auth.banned',
      'session.refused',
      'session.refused',
    ]);
  });
});

describe('after the login', () => {
  it.each([
    [['STAT'], ['+OK 2 56']],
    [['LIST'], [`+OK 2 messages|1 45\r\n2 11\r\n|.\r\n`]],
    [['LIST 2'], ['+OK 2 11']],
    [['LIST 02'], ['+OK 2 11']],
    [['UIDL'], [`+OK 2 messages|1 first\r\n2 ${LONG}\r\n|.\r\n`]],
    [['UIDL 1'], ['+OK 1 first']],
    [['RETR 2'], ['+OK The message follows|A: b\r\n\r\n..\r\n|.\r\n']],
    [['retr  1'], [`+OK The message follows|${MESSAGE}|.\r\n`]],
    [['TOP 1 0'], ['+OK The message follows|From: a@contoso.com\r\nSubject: hello\r\n\r\n.\r\n']],
    [['TOP 1 10'], [`+OK The message follows|${MESSAGE}|.\r\n`]],
    [['NOOP'], ['+OK']],
    [
      ['DELE 1', 'STAT', 'LIST', 'UIDL 1', 'RETR 1', 'DELE 1'],
      [
        '+OK Message 1 is deleted at QUIT',
        '+OK 1 11',
        '+OK 1 messages|2 11\r\n|.\r\n',
        '-ERR No such message',
        '-ERR No such message',
        '-ERR No such message',
      ],
    ],
    [
      ['DELE 1', 'DELE 2', 'STAT', 'LIST', 'RSET', 'STAT'],
      [
        '+OK Message 1 is deleted at QUIT',
        '+OK Message 2 is deleted at QUIT',
        '+OK 0 0',
        '+OK 0 messages|.\r\n',
        '+OK Nothing is marked as deleted',
        '+OK 2 56',
      ],
    ],
    [
      ['RETR 0', 'RETR 3', 'LIST 9999999999', 'TOP 3 1', 'DELE 3'],
      Array.from({ length: 5 }, () => '-ERR No such message'),
    ],
    [
      ['LIST x', 'DELE -1', 'UIDL 1 2', 'DELE'],
      Array.from({ length: 4 }, () => '-ERR The number of a message is wanted'),
    ],
    [['RETR', 'RETR x'], Array.from({ length: 2 }, () => '-ERR RETR wants the number of a message')],
    [
      ['TOP 1', 'TOP 1 -1', 'TOP 1 x'],
      Array.from({ length: 3 }, () => '-ERR TOP wants the number of a message and a number of lines'),
    ],
    [['USER fax', 'PASS x', 'AUTH PLAIN', 'STLS'], Array.from({ length: 4 }, () => '-ERR Logged in already')],
    [['XTND'], ['-ERR Unknown command']],
    [['QUIT'], ['+OK 0 messages deleted [close]']],
  ])('%j is answered %j', async (lines, wanted) => {
    const one = session();
    await talk(one, IN);
    // A body may come in other parts.
    const text = (answers: readonly string[]): string[] => answers.map((answer) => answer.replaceAll('\r\n|', '\r\n'));
    expect(text(await talk(one, lines))).toEqual(text(wanted));
    expect(maildrop.removed).toEqual([]);
    expect(events.filter(({ event }) => event === 'bug')).toEqual([]);
  });

  it('numbers stand, whatever comes and goes meanwhile', async () => {
    const one = session();
    await talk(one, IN);
    maildrop.messages.delete('first');
    maildrop.messages.set('third', Buffer.from('x'));
    expect(await talk(one, ['UIDL 2', 'UIDL 3', 'RETR 1', 'DELE 1', 'QUIT'])).toEqual([
      `+OK 2 ${LONG}`,
      '-ERR No such message',
      '-ERR [SYS/TEMP] The mailbox cannot be read at the moment',
      '+OK Message 1 is deleted at QUIT',
      '+OK 1 messages deleted [close]',
    ]);
  });

  it('QUIT deletes what is marked, and gives the mailbox back', async () => {
    const one = session();
    expect((await talk(one, [...IN, 'DELE 2', 'RSET', 'DELE 1', 'QUIT'])).at(-1)).toBe(
      '+OK 1 messages deleted [close]',
    );
    expect(maildrop.removed).toEqual([['first']]);
    expect(inUse).toEqual(new Set());
  });

  it.each([
    [new SpoolError('full', 'no space'), 'session.refused'],
    [new Error('a bug'), 'bug'],
  ])('QUIT says so if nothing is deleted: %s', async (trouble, event) => {
    const one = session();
    await talk(one, [...IN, 'DELE 1']);
    maildrop.trouble.remove = trouble;
    expect(await talk(one, ['QUIT'])).toEqual(['-ERR [SYS/TEMP] Nothing is deleted, try again later [close]']);
    expect([...maildrop.messages.keys()]).toEqual(Object.keys(TWO));
    expect(events.at(-1)).toMatchObject({ event, ...(event === 'bug' ? {} : { user: 'fax' }) });
    expect(inUse).toEqual(new Set());
  });

  it('the end without QUIT deletes nothing', async () => {
    const one = session();
    await talk(one, [...IN, 'DELE 1']);
    await one.end();
    expect(maildrop.removed).toEqual([]);
    expect(inUse).toEqual(new Set());
  });

  describe('of several gateways', () => {
    /** Which mailboxes are another's, and what was done. */
    let others: Set<string>;
    let done: string[];
    let isOurs: boolean;
    const exclude: Pop3Parts['exclude'] = async (user) => {
      done.push(`take ${user}`);
      const leave = async (): Promise<void> => void done.push(`leave ${user}`);
      return others.has(user)
        ? undefined
        : {
            leave,
            get isOurs() {
              return isOurs;
            },
          };
    };
    beforeEach(() => {
      others = new Set();
      done = [];
      isOurs = true;
    });

    it('has the mailbox for itself until the answer to QUIT', async () => {
      const one = session({ exclude });
      expect(await talk(one, [...IN, 'DELE 1'])).toContain('+OK 2 messages');
      expect(done).toEqual(['take fax']);
      expect(await talk(one, ['QUIT'])).toEqual(['+OK 1 messages deleted [close]']);
      expect(done).toEqual(['take fax', 'leave fax']);
    });

    it('is refused while another gateway has a session', async () => {
      others.add('fax');
      expect((await talk(session({ exclude }), IN)).at(-1)).toMatch(/^-ERR \[IN-USE\]/);
      expect(events.at(-1)).toMatchObject({ event: 'session.refused', refusal: 'policy', user: 'fax' });
      expect(inUse).toEqual(new Set());
      others.clear();
      expect((await talk(session({ exclude }), IN)).at(-1)).toBe('+OK 2 messages');
    });

    it('asks the others only where no session of this one has it', async () => {
      await talk(session({ exclude }), IN);
      expect((await talk(session({ exclude }), IN)).at(-1)).toMatch(/^-ERR \[IN-USE\]/);
      expect(done).toEqual(['take fax']);
    });

    it.each([
      ['cannot be asked', 'take fax'],
      ['cannot be listed', 'take fax,leave fax'],
    ])('a mailbox that %s stays free', async (what, expected) => {
      const trouble = new SpoolError('io', 'no database');
      if (what === 'cannot be listed') maildrop.trouble.list = trouble;
      const one = session({
        exclude: (user) =>
          what === 'cannot be asked' ? (done.push('take fax'), Promise.reject(trouble)) : exclude(user),
      });
      expect((await talk(one, IN)).at(-1)).toMatch(/^-ERR \[SYS\/TEMP\] The mailbox cannot be read/);
      expect(done.join()).toBe(expected);
      expect(inUse).toEqual(new Set());
    });

    it('a lost connection leaves it, and only then may it be taken here again', async () => {
      const left = Promise.withResolvers<void>();
      const one = session({ exclude: async () => ({ isOurs: true, leave: () => left.promise }) });
      await talk(one, IN);
      const ended = one.end();
      expect((await talk(session({ exclude }), IN)).at(-1)).toMatch(/^-ERR \[IN-USE\]/);
      left.resolve();
      await ended;
      expect((await talk(session({ exclude }), IN)).at(-1)).toBe('+OK 2 messages');
    });

    it.each(['QUIT', 'NOOP', 'RETR 1'])('that may be another’s by now ends it: %s', async (command) => {
      const one = session({ exclude });
      await talk(one, [...IN, 'DELE 1']);
      isOurs = false;
      expect(await talk(one, [command])).toEqual([
        expect.stringMatching(/^-ERR \[SYS\/TEMP\] .*nothing is deleted.*\[close\]$/),
      ]);
      expect(maildrop.removed).toEqual([]);
      await one.end();
      expect(done).toEqual(['take fax', 'leave fax']);
      expect(inUse).toEqual(new Set());
    });
  });

  it('sizes are counted once, and of what cannot be read are as listed', async () => {
    const one = session();
    await talk(one, [...IN, 'LIST 2']);
    maildrop.trouble.open = new SpoolError('damaged', 'disk');
    expect(await talk(one, ['LIST 1', 'LIST 2', 'RETR 1'])).toEqual([
      '+OK 1 45',
      '+OK 2 11',
      '-ERR [SYS/TEMP] The mailbox cannot be read at the moment',
    ]);
    expect(events.at(-1)).toMatchObject({ refusal: 'spool', user: 'fax', detail: 'damaged: disk' });
  });

  it.each([['twice'], ['']])('a maildrop that breaks its contract is a bug: id %j', async (id) => {
    maildrop.list = async () => [
      { id: 'twice', size: 1 },
      { id, size: 1 },
    ];
    expect((await talk(session(), IN)).at(-1)).toMatch(/^-ERR \[SYS\/TEMP\]/);
    expect(events.some(({ event }) => event === 'bug')).toBe(true);
  });
});

describe('refused commands', () => {
  it('end the connection when there are too many of them on end', async () => {
    const one = session({ maxErrors: 3 });
    const answers = await talk(one, ['X', 'Y', ...IN, 'X', 'RETR 9', 'Y', 'Z']);
    expect(answers.slice(-2)).toEqual(['-ERR Unknown command', '-ERR Too many refused commands [close]']);
    expect(events.at(-1)).toMatchObject({ refusal: 'errors', detail: 'Unknown command' });
  });

  it('are lines that are too long, in either form', async () => {
    const one = session();
    expect(one.longestLine).toBe(512);
    expect(await one.answer('too long')).toEqual({ status: '-ERR The line is too long' });
    await talk(one, ['AUTH PLAIN']);
    expect(one.longestLine).toBe(2_048);
    expect(await one.answer('too long')).toEqual({ status: '-ERR The line is too long' });
    expect(one.longestLine).toBe(512);
  });
});

it('says for how long messages are kept, and that there is STLS', async () => {
  const one = session({ tls: 'optional', expire: 30 });
  expect((await talk(one, ['CAPA']))[0]).toMatch(/\r\nEXPIRE 30\r\nSTLS\r\nUSER\r\n/);
  await talk(one, IN);
  expect((await talk(one, ['CAPA']))[0]).not.toMatch(/STLS/);
});

afterEach(() => {
  if (maildrop.opened > 0) throw new Error('a message was not let go');
});
