/**
 * SMTP smuggling: what other servers have taken for the end of a message ends none here, however it is cut into packets,
 * and what is stored can end none downstream: it holds no line end but CRLF.
 */
import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestListener } from './listener.ts';
import type { Session } from './session.ts';

const HEAD =
  'From: a@contoso.com\r\nTo: b@contoso.com\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 09:05:07 +0000\r\nMessage-ID: <1@client.test>\r\n\r\n';
const SMUGGLED =
  'MAIL FROM:<evil@contoso.com>\r\nRCPT TO:<victim@contoso.com>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n';

const VARIANTS: Readonly<Record<string, string>> = {
  'LF . LF': '\n.\n',
  'LF . CRLF': '\n.\r\n',
  'CRLF . LF': '\r\n.\n',
  'CR . CR': '\r.\r',
  'CR . CRLF': '\r.\r\n',
  'CRLF . CR': '\r\n.\r',
  'CR . LF': '\r.\n',
  'LF . CR': '\n.\r',
  'LFCR . LFCR': '\n\r.\n\r',
  'LFCR . CRLF': '\n\r.\r\n',
  'CRLF . LFCR': '\r\n.\n\r',
  'CRLF . CRCRLF': '\r\n.\r\r\n',
  'CRCRLF . LF': '\r\r\n.\n',
  'CRCR . CRLF': '\r\r.\r\n',
  'LFLF . LF': '\n\n.\n',
  'LFLF . CRLF': '\n\n.\r\n',
  'CRLFLF . LF': '\r\n\n.\n',
  'CRLF . NUL CRLF': '\r\n.\0\r\n',
  'CRLF NUL . CRLF': '\r\n\0.\r\n',
  'CR NUL LF . CRLF': '\r\0\n.\r\n',
  'CRLF . CR NUL LF': '\r\n.\r\0\n',
  'NUL . NUL': '\0.\0',
  'LF NUL . LF': '\n\0.\n',
  'CRLF . space CRLF': '\r\n. \r\n',
  'CRLF . tab CRLF': '\r\n.\t\r\n',
  'CRLF space . CRLF': '\r\n .\r\n',
  'CRLF .. CRLF': '\r\n..\r\n',
  'CRLF ... CRLF': '\r\n...\r\n',
  'LF .. LF': '\n..\n',
  'LF .. CRLF': '\n..\r\n',
  'vertical tab . vertical tab': '\v.\v',
  'form feed . form feed': '\f.\f',
  'NEL . NEL': '\u0085.\u0085',
  'line separator . line separator': '\u2028.\u2028',
  'full-width full stop': '\r\n\uff0e\r\n',
  'MIME boundary': '\r\n--x--\r\n.\n',
};

let listener: TestListener;
beforeEach(() => {
  listener = new TestListener();
});
afterEach(() => listener.end());

const WAYS: Readonly<Record<string, (session: Session, octets: Buffer) => Promise<void>>> = {
  'in one write': async (session, octets) => session.write(octets),
  'octet by octet': (session, octets) => session.writeSlowly(octets),
  'with a packet that ends before, in and behind every dot': async (session, octets) => {
    let from = 0;
    for (let at = octets.indexOf('.'); at >= 0; at = octets.indexOf('.', at + 1)) {
      for (const to of [at, at + 1]) {
        session.write(octets.subarray(from, to));
        await new Promise((resolve) => setImmediate(resolve));
        from = to;
      }
    }
    session.write(octets.subarray(from));
  },
};

/** A dot alone between any two line ends. */
const ANY_END = /(?:^|[\r\n])\.[\r\n]/;
const BARE = /\r(?!\n)|(?<!\r)\n/;

/** As a client that knows RFC 5321 section 4.5.2 hands it on, without the end. */
const onTheWire = (stored: Buffer): string => stored.toString('latin1').replace(/(^|\r\n)\./g, '$1..');

describe.each(Object.entries(VARIANTS))('%s', (_, end) => {
  describe.each(Object.entries(WAYS))('%s', (_way, write) => {
    it.each([false, true])('ends no message; lenient: %s', async (lenient) => {
      await listener.start({ lenient });
      const session = await listener.session();
      await session.toData();
      await write(session, Buffer.from(`${HEAD}text${end}${SMUGGLED}`));
      session.write('\r\n.\r\n');
      const isBare = BARE.test(end.replaceAll('\r\n', ''));
      expect(await session.reply()).toMatch(!lenient && isBare ? /^550 5\.6\.11 / : /^250 2\.0\.0 queued as m1$/);
      expect(await session.say('NOOP')).toBe('250 2.0.0 OK');
      expect(session.unread).toEqual([]);
      expect(listener.inject.messages).toHaveLength(!lenient && isBare ? 0 : 1);
      for (const { envelope, octets } of listener.inject.messages) {
        expect(envelope).toEqual({ reversePath: 'a@contoso.com', recipients: [{ address: 'b@contoso.com' }] });
        expect(octets.toString()).toContain('RCPT TO:<victim@contoso.com>');
        expect(octets.toString('latin1')).not.toMatch(BARE);
        expect(onTheWire(octets)).not.toMatch(ANY_END);
      }
    });
  });
});

describe('commands on a strict listener', () => {
  it.each(['NOOP\n', 'MAIL FROM:<a@contoso.com>\n', 'RSET\nNOOP\n', 'QUIT\n'])(
    '%j are none: LF alone ends no line',
    async (line) => {
      await listener.start();
      for (const slowly of [false, true]) {
        const session = await listener.session();
        if (slowly) await session.writeSlowly(line);
        else session.write(line);
        for (let n = 1; n < line.split('\n').length; n++) expect(await session.reply()).toMatch(/^500 5\.5\.2 /);
        expect(await session.say('NOOP')).toBe('250 2.0.0 OK');
      }
      expect(listener.inject.asked).toEqual([]);
      for (const { refusal } of listener.refusals) expect(refusal).toBe('syntax');
    },
  );

  it('behind a message are run only if they are whole', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    session.write(`${HEAD}text\r\n.\r\nMAIL FROM:<evil@contoso.com>\nRCPT TO:<b@contoso.com>\nNOOP\r\n`);
    expect(await session.reply()).toMatch(/^250 /);
    expect(await session.replies(2)).toEqual([
      '500 5.5.2 A command ends with CR LF, not with LF alone',
      '500 5.5.2 A command ends with CR LF, not with LF alone',
    ]);
    expect(await session.reply()).toBe('250 2.0.0 OK');
  });

  it('may come 1,000 at once, cut anywhere', async () => {
    await listener.start();
    for (const size of [1, 7, 100_000]) {
      const session = await listener.session();
      const all = Buffer.from('NOOP\r\n'.repeat(1_000));
      for (let at = 0; at < all.length; at += size) session.write(all.subarray(at, at + size));
      expect(new Set(await session.replies(1_000))).toEqual(new Set(['250 2.0.0 OK']));
    }
    expect(listener.refusals).toEqual([]);
  });
});

describe('STARTTLS', () => {
  describe.each([false, true])('lenient: %s', (lenient) => {
    it.each([
      { name: 'a command', behind: 'MAIL FROM:<evil@contoso.com>\r\n' },
      { name: 'a whole transaction', behind: `${SMUGGLED}.\r\n` },
      { name: 'half a command', behind: 'MAIL FROM:<evil@con' },
    ])('$name in the same packet behind it never runs inside TLS', async ({ behind }) => {
      await listener.start({ tls: 'optional', lenient });
      const session = await listener.session();
      session.write(`STARTTLS\r\n${behind}`);
      expect(await session.reply()).toMatch(/^220 /);
      await session.upgrade();
      expect(await session.say('NOOP')).toBe('250 2.0.0 OK');
      expect(await session.say('EHLO client.test')).toMatch(/^250-/);
      expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 /);
      expect(session.unread).toEqual([]);
      expect(listener.inject.asked).toEqual([]);
    });

    it('a command in the next packet is no ClientHello: the handshake fails', async () => {
      await listener.start({ tls: 'optional', lenient });
      const session = await listener.session();
      expect(await session.say('STARTTLS')).toMatch(/^220 /);
      session.write('MAIL FROM:<evil@contoso.com>\r\n');
      await session.closed();
      expect(session.unread).toEqual([]);
      expect(listener.inject.asked).toEqual([]);
    });
  });
});
