/** DATA: framing, octets, header, size, trouble with the spool, and when a 250 is said. */
import { Buffer } from 'node:buffer';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SpoolError } from '../../src/mail/spool.ts';
import type { SpoolTrouble } from '../../src/mail/spool.ts';
import { MESSAGE, TestListener, until } from './listener.ts';
import type { Setup } from './listener.ts';

let listener: TestListener;

beforeEach(() => {
  listener = new TestListener();
});

afterEach(() => listener.end());

const HEADER = 'From: a@contoso.com\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@client.test>\r\n';
const HEAD = `${HEADER}\r\n`;
const refusals = (): string[] => listener.refusals.map(({ refusal }) => refusal);

/** Dots as RFC 5321 section 4.5.2 wants them, lines ended by CRLF only. */
function stuffed(body: Buffer): Buffer {
  return Buffer.from(body.toString('latin1').replace(/(^|\r\n)\./g, '$1..'), 'latin1');
}

describe('a 250', () => {
  it('is said when the commit has resolved, not before', async () => {
    await listener.start();
    let release = (): void => undefined;
    listener.inject.onCommit = () => new Promise((resolve) => (release = resolve));
    const session = await listener.session();
    await session.toData();
    session.write(`${MESSAGE}.\r\nNOOP\r\n`);
    await until('the commit', () => listener.inject.drafts[0]?.state === 'committing');
    await pause(60);
    expect(session.unread).toEqual([]);
    release();
    expect(await session.reply()).toBe('250 2.0.0 queued as m1');
    expect(await session.reply()).toBe('250 2.0.0 OK');
  });

  it('does not come for a message that was refused, and the session goes on', async () => {
    await listener.start({ maxHops: 2 });
    const session = await listener.session();
    expect(await session.send(`${'Received: from a by b; c\r\n'.repeat(2)}${MESSAGE}`)).toMatch(/^554 5\.4\.6 /);
    expect(await session.send(MESSAGE)).toBe('250 2.0.0 queued as m2');
    expect(await session.send(`${'Received: from a by b; c\r\n'.repeat(2)}${MESSAGE}`)).toMatch(/^554 5\.4\.6 /);
    expect(await session.send(MESSAGE)).toBe('250 2.0.0 queued as m4');
    expect(listener.inject.messages.map(({ id }) => id)).toEqual(['m2', 'm4']);
    expect(listener.inject.drafts.map(({ aborts }) => aborts)).toEqual([1, 0, 1, 0]);
    expect(refusals()).toEqual(['loop', 'loop']);
  });

  it('comes for one Received field fewer', async () => {
    await listener.start({ maxHops: 2 });
    const session = await listener.session();
    expect(await session.send(`Received: from a by b; c\r\n${MESSAGE}`)).toMatch(/^250 /);
    expect(listener.inject.only.fields('received')).toHaveLength(2);
  });
});

describe('room', () => {
  it('none: 452 4.3.1 at MAIL, nothing is begun, and the declared size is handed on', async () => {
    await listener.start();
    const session = await listener.session();
    listener.inject.answer = { ok: false, reason: 'only 3 MB are free' };
    expect(await session.say('MAIL FROM:<a@contoso.com> SIZE=1234')).toMatch(/^452 4\.3\.1 /);
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 5\.5\.1 /);
    listener.inject.answer = { ok: true };
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.asked).toEqual([1234, 0]);
    expect(listener.refusals[0]).toMatchObject({ refusal: 'room', detail: 'only 3 MB are free' });
    expect(listener.refusals[0]?.reply).not.toContain('3 MB');
    expect(refusals()).toEqual(['room', 'syntax']);
  });
});

describe('a spool that is in trouble', () => {
  it.each([
    { trouble: 'full', reply: /^452 4\.3\.1 /, refusal: 'room' },
    { trouble: 'readOnly', reply: /^451 4\.3\.0 /, refusal: 'spool' },
    { trouble: 'io', reply: /^451 4\.3\.0 /, refusal: 'spool' },
  ] as const)('$trouble: refused at MAIL', async ({ trouble, reply, refusal }) => {
    await listener.start();
    const session = await listener.session();
    listener.inject.answer = { ok: false, reason: 'the database says no', trouble };
    const answer = await session.say('MAIL FROM:<a@contoso.com>');
    expect(answer).toMatch(reply);
    expect(answer).not.toContain('database');
    expect(listener.refusals).toMatchObject([{ refusal, detail: 'the database says no' }]);
  });
});

describe('trouble with the spool', () => {
  const troubles: { trouble: SpoolTrouble; reply: RegExp; refusal: string }[] = [
    { trouble: 'full', reply: /^452 4\.3\.1 /, refusal: 'room' },
    { trouble: 'readOnly', reply: /^451 4\.3\.0 /, refusal: 'spool' },
    { trouble: 'damaged', reply: /^451 4\.3\.0 /, refusal: 'spool' },
    { trouble: 'closed', reply: /^451 4\.3\.0 /, refusal: 'spool' },
    { trouble: 'io', reply: /^451 4\.3\.0 /, refusal: 'spool' },
  ];
  describe.each(['onBegin', 'onWrite', 'onCommit'] as const)('%s', (where) => {
    it.each(troubles)('$trouble: nothing is acknowledged', async ({ trouble, reply, refusal }) => {
      await listener.start();
      listener.inject[where] = () => {
        throw new SpoolError(trouble, 'the disk says no at /secret/place');
      };
      const session = await listener.session();
      const answer = await session.send(`${HEAD}${'x'.repeat(200)}\r\n`);
      expect(answer).toMatch(reply);
      expect(answer).not.toContain('/secret/place');
      expect(listener.inject.messages).toEqual([]);
      expect(listener.refusals).toMatchObject([{ refusal, detail: 'the disk says no at /secret/place' }]);
      listener.inject[where] = undefined;
      expect(await session.send(MESSAGE)).toMatch(/^250 /);
      expect(listener.inject.only.body.toString()).toBe('body\r\n');
      for (const draft of listener.inject.drafts) expect(draft.aborts).toBe(draft.state === 'committed' ? 0 : 1);
      expect(listener.told('bug')).toEqual([]);
    });

    it('a bug: 451, told as such, and the session goes on', async () => {
      await listener.start();
      listener.inject[where] = () => {
        throw new TypeError('undefined is not a function');
      };
      const session = await listener.session();
      const answer = await session.send(MESSAGE);
      expect(answer).toMatch(/^451 4\.3\.0 /);
      expect(answer).not.toContain('undefined');
      expect(listener.told('bug')).toMatchObject([{ where: 'smtp DATA', error: { message: /undefined is not/ } }]);
      expect(listener.refusals).toHaveLength(1);
      listener.inject[where] = undefined;
      expect(await session.send(MESSAGE)).toMatch(/^250 /);
    });
  });

  it('in the middle of a body: the rest is read, then the reply comes', async () => {
    await listener.start();
    listener.inject.onWrite = (draft) => {
      if (draft.chunks.length > 3) throw new SpoolError('full', 'no space');
    };
    const session = await listener.session();
    await session.toData();
    session.write(HEAD);
    for (let n = 0; n < 30; n++) {
      session.write(`${'x'.repeat(900)}\r\n`.repeat(10));
      await pause(1);
    }
    expect(session.unread).toEqual([]);
    session.write('.\r\n');
    expect(await session.reply()).toMatch(/^452 4\.3\.1 /);
    expect(listener.inject.drafts.map(({ state, aborts }) => [state, aborts])).toEqual([['aborted', 1]]);
  });
});

describe('a client that goes away', () => {
  it.each(['destroy', 'reset'] as const)(
    'in the middle of DATA (%s): the draft is forgotten, told once',
    async (how) => {
      await listener.start();
      const session = await listener.session();
      await session.toData();
      session.write(`${HEAD}half a `);
      await until('the draft', () => listener.inject.drafts.length > 0);
      session[how]();
      await until('the abort', () => listener.inject.drafts[0]?.state === 'aborted');
      await until('the close', () => listener.told('session.closed').length > 0);
      expect(listener.inject.messages).toEqual([]);
      expect(listener.inject.drafts[0]?.aborts).toBe(1);
      expect(refusals()).toEqual(['aborted']);
      expect(listener.told('session.closed')).toMatchObject([{ messages: 0 }]);
    },
  );

  it('right before the final dot: nothing is committed', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    session.write(`${MESSAGE}.`);
    await pause(20);
    session.socket.end();
    await until('the abort', () => listener.inject.drafts[0]?.state === 'aborted');
    await until('the event', () => listener.refusals.length > 0);
    expect(refusals()).toEqual(['aborted']);
    expect(listener.inject.messages).toEqual([]);
  });

  it('while a write is waiting: the draft is forgotten when the write ends', async () => {
    await listener.start();
    let release = (): void => undefined;
    listener.inject.onWrite = () => new Promise((resolve) => (release = resolve));
    const session = await listener.session();
    await session.toData();
    session.write(MESSAGE);
    await until('the draft', () => listener.inject.drafts.length > 0);
    session.destroy();
    await pause(30);
    listener.inject.onWrite = undefined;
    release();
    await until('the abort', () => listener.inject.drafts[0]?.state === 'aborted');
    await until('the event', () => listener.refusals.length > 0);
    expect(refusals()).toEqual(['aborted']);
  });

  it('outside of DATA: no refusal', async () => {
    await listener.start();
    const session = await listener.session();
    await session.say('MAIL FROM:<a@contoso.com>');
    session.reset();
    const other = await listener.session();
    other.destroy();
    await until('the close', () => listener.told('session.closed').length === 2);
    expect(listener.refusals).toEqual([]);
  });

  it('after the final dot, while the commit is under way: the message stays', async () => {
    await listener.start();
    let release = (): void => undefined;
    listener.inject.onCommit = () => new Promise((resolve) => (release = resolve));
    const session = await listener.session();
    await session.toData();
    session.write(`${MESSAGE}.\r\n`);
    await until('the commit', () => listener.inject.drafts[0]?.state === 'committing');
    session.reset();
    await pause(30);
    release();
    await until('the message', () => listener.inject.messages.length === 1);
    expect(listener.inject.only.aborts).toBe(0);
    expect(listener.refusals).toEqual([]);
  });
});

describe('size', () => {
  it('declared too large: 552 5.3.4 at MAIL, nothing is asked of the spool', async () => {
    await listener.start({ maxMessageSize: 1_000 });
    const session = await listener.session();
    expect(await session.say('MAIL FROM:<a@contoso.com> SIZE=1001')).toMatch(/^552 5\.3\.4 /);
    expect(await session.say('MAIL FROM:<a@contoso.com> SIZE=99999999999999999999')).toMatch(/^552 5\.3\.4 /);
    expect(listener.inject.asked).toEqual([]);
    expect(await session.say('MAIL FROM:<a@contoso.com> SIZE=1000')).toMatch(/^250 2\.1\.0 /);
    expect(refusals()).toEqual(['size', 'size']);
  });

  it.each(['SIZE', 'SIZE=', 'SIZE=-1', 'SIZE=1e3', 'SIZE=0x10', 'SIZE=1 SIZE=2'])('%s is no size', async (size) => {
    await listener.start();
    const session = await listener.session();
    expect(await session.say(`MAIL FROM:<a@contoso.com> ${size}`)).toMatch(/^501 5\.5\.4 /);
    expect(refusals()).toEqual(['syntax']);
  });

  it.each([
    { more: 0, reply: /^250 2\.0\.0 / },
    { more: 1, reply: /^552 5\.3\.4 / },
    { more: 200_000, reply: /^552 5\.3\.4 / },
  ])('sent, $more octets over: $reply', async ({ more, reply }) => {
    await listener.start({ maxMessageSize: 100_000 });
    const session = await listener.session();
    const data = Buffer.concat([
      Buffer.from(HEAD),
      Buffer.alloc(100_000 - HEAD.length - 2 + more, 'x'),
      Buffer.from('\r\n'),
    ]);
    // A client that says nothing of the size, or the wrong thing.
    expect(await session.send(data)).toMatch(reply);
    expect(listener.inject.messages).toHaveLength(more === 0 ? 1 : 0);
    expect(refusals()).toEqual(more === 0 ? [] : ['size']);
    expect(listener.inject.drafts.map(({ state, aborts }) => `${state} ${aborts}`)).toEqual([
      more === 0 ? 'committed 0' : 'aborted 1',
    ]);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
  });

  it('without end: cut off, told once, nothing kept', async () => {
    await listener.start({ maxMessageSize: 100_000 });
    const session = await listener.session();
    await session.toData();
    session.write(HEAD);
    const block = Buffer.alloc(65_536, 'x\r\n');
    let sent = 0;
    while (!session.isClosed && sent < 50_000_000) {
      if (!session.socket.write(block)) await new Promise((resolve) => setImmediate(resolve));
      sent += block.length;
      if (sent % (block.length * 16) === 0) await pause(1);
    }
    await session.closed();
    expect(sent).toBeLessThan(50_000_000);
    expect(listener.inject.messages).toEqual([]);
    expect(listener.inject.drafts[0]?.octets.length).toBeLessThanOrEqual(101_000);
    await until('the event', () => listener.refusals.length > 0);
    await until('the close', () => listener.told('session.closed').length > 0);
    expect(refusals()).toEqual(['size']);
    expect(listener.inject.drafts[0]?.aborts).toBe(1);
  });

  it.each([
    { what: 'one field', header: `X-Long: ${'x'.repeat(3_000)}\r\n` },
    { what: 'many fields', header: 'X-Field: value\r\n'.repeat(300) },
    { what: 'no end of the header', header: `${'y'.repeat(400)}\r\n`.repeat(20) },
  ])('of the header block over its bound: 552, $what', async ({ header }) => {
    await listener.start({ maxHeaderSize: 2_000 });
    const session = await listener.session();
    expect(await session.send(`${header}${MESSAGE}`)).toMatch(/^552 5\.3\.4 /);
    expect(refusals()).toEqual(['header']);
    expect(listener.inject.messages).toEqual([]);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
  });

  it('of the header block counts to the octet', async () => {
    await listener.start({ maxHeaderSize: 2_000 });
    const session = await listener.session();
    const filled = (size: number): string => `${HEADER}X: ${'x'.repeat(size - HEADER.length - 7)}\r\n\r\n`;
    expect(filled(2_000)).toHaveLength(2_000);
    expect(await session.send(`${filled(2_000)}${'body\r\n'.repeat(2_000)}`)).toMatch(/^250 /);
    expect(await session.send(`${filled(2_001)}body\r\n`)).toMatch(/^552 /);
  });
});

describe('the header', () => {
  async function header(data: string, ehlo = 'EHLO client.test', setup: Setup = {}): Promise<void> {
    await listener.start({ ...setup, now: () => Date.UTC(2026, 10, 23, 9, 5, 7) });
    const session = await listener.connect();
    await session.reply();
    await session.say(ehlo);
    await session.toData('bounce@contoso.com', ['to@contoso.com', 'blind@contoso.com']);
    session.write(`${data}.\r\n`);
    expect(await session.reply()).toMatch(/^250 /);
  }

  /** What every message gets, in front. */
  const added = (): string =>
    ['received', 'x-smtp2exchange-hop'].flatMap((name) => listener.inject.only.fields(name)).join('');

  it('gets a Received field in which no recipient is named', async () => {
    await header(`${HEAD}body\r\n`);
    const { only } = listener.inject;
    const [received = ''] = only.fields('received');
    expect(received.replace(/\r\n[ \t]/g, ' ')).toBe(
      'Received: from client.test ([127.0.0.1]) by gw.test with ESMTP id m1; Mon, 23 Nov 2026 09:05:07 +0000\r\n',
    );
    const [hop = ''] = only.fields('x-smtp2exchange-hop');
    expect(only.octets.toString()).toBe(`${received}${hop}${HEAD}body\r\n`);
    expect(only.octets.toString()).not.toMatch(/blind|to@|bounce/);
    expect(only.arrival).toMatchObject({
      messageId: '<1@client.test>',
      repairs: [],
      from: ['a@contoso.com'],
      headerSize: received.length + hop.length + HEAD.length,
    });
  });

  it.each([
    ['Importance: high', true],
    ['X-Priority: 1 (Highest)', true],
    ['Importance: low', undefined],
    ['Subject: x', undefined],
  ])('says of %j whether it is important', async (field, isImportant) => {
    await header(`${field}\r\n${HEAD}body\r\n`);
    expect(listener.inject.only.arrival?.isImportant).toBe(isImportant);
  });

  it('keeps what a hostile EHLO says in its place', async () => {
    await header(`${HEAD}body\r\n`, 'EHLO (x);\u00fc<b@c>[::1]', { lenient: true });
    const received = listener.inject.only.fields('received').join('');
    expect(received).toMatch(/^Received: from xbc1 \(\[127\.0\.0\.1\]\)/);
  });

  it('gets Date, Message-ID and From where they lack', async () => {
    await header('Subject: bare\r\n\r\nbody\r\n');
    const { only } = listener.inject;
    expect(only.fields('date')).toEqual(['Date: Mon, 23 Nov 2026 09:05:07 +0000\r\n']);
    expect(only.fields('message-id')).toEqual(['Message-ID: <m1@gw.test>\r\n']);
    expect(only.fields('from')).toEqual(['From: bounce@contoso.com\r\n']);
    expect(only.arrival).toMatchObject({
      messageId: '<m1@gw.test>',
      repairs: ['added From', 'added Date', 'added Message-ID'],
      from: ['bounce@contoso.com'],
    });
    expect(only.body.toString()).toBe('body\r\n');
  });

  it('gets the default From where there is no reverse-path either', async () => {
    await listener.start();
    const session = await listener.session();
    await session.send('Subject: bare\r\n\r\nbody\r\n', '');
    expect(listener.inject.only.fields('from')).toEqual(['From: gateway@contoso.com\r\n']);
    expect(listener.inject.only.arrival?.from).toEqual(['gateway@contoso.com']);
  });

  it.each([
    { what: 'nothing at all', data: '', body: '' },
    { what: 'an empty line', data: '\r\n', body: '' },
    { what: 'a body behind an empty line', data: '\r\nbody\r\n', body: 'body\r\n' },
    { what: 'only a header', data: 'Subject: x\r\n', body: '' },
    {
      what: 'a first line that is no field',
      data: 'Paper jam in tray 2\r\nCall: 4711\r\n',
      body: 'Paper jam in tray 2\r\nCall: 4711\r\n',
    },
    {
      what: 'the same with an empty line',
      data: 'Paper jam\r\n\r\nSubject: no\r\n',
      body: 'Paper jam\r\n\r\nSubject: no\r\n',
    },
    {
      what: 'a first line that is folded',
      data: ' Paper jam\r\nCall: 4711\r\n\r\nx\r\n',
      body: ' Paper jam\r\nCall: 4711\r\n\r\nx\r\n',
    },
    {
      what: 'a text that begins with From',
      data: 'From here on\r\nall is text\r\n',
      body: 'From here on\r\nall is text\r\n',
    },
    {
      what: 'a From line and nothing else',
      data: 'From here on\r\n\r\ntext\r\n',
      body: 'From here on\r\n\r\ntext\r\n',
    },
  ])('is made for a message of $what', async ({ data, body }) => {
    await header(data);
    const { only } = listener.inject;
    expect(only.body.toString()).toBe(body);
    for (const name of ['received', 'date', 'message-id', 'from']) expect(only.fields(name)).toHaveLength(1);
    expect(only.header.endsWith('\r\n\r\n')).toBe(true);
  });

  it('ends before the first line that is no field: the body begins there, as its writer meant', async () => {
    await header('Subject: x\r\nTo: b@contoso.com\r\nDear all,\r\nnote: this is text\r\n\r\nmore\r\n');
    const { only } = listener.inject;
    expect(only.body.toString()).toBe('Dear all,\r\nnote: this is text\r\n\r\nmore\r\n');
    expect(only.fields('subject')).toEqual(['Subject: x\r\n']);
    for (const name of ['received', 'date', 'message-id', 'from']) expect(only.fields(name)).toHaveLength(1);
    expect(only.arrival?.repairs).toContain('put an empty line before the body');
  });

  it('loses an mbox From line, and nothing else', async () => {
    await header(`From a@contoso.com Mon Nov  2 10:00:00 2026\r\n${HEAD}body\r\n`);
    const { only } = listener.inject;
    expect(only.octets.toString()).toBe(`${added()}${HEAD}body\r\n`);
    expect(only.arrival?.repairs).toEqual(['removed an mbox From line']);
  });

  it('keeps its octets: folding, odd case, odd blanks', async () => {
    const fields = `fRoM: a@contoso.com\r\nDATE:\r\n\tMon, 2 Nov 2026 10:00:00 +0000\r\nMessage-Id:\r\n <1@x>\r\nSubject:  Hello\r\nX-Odd:one\r\n\ttwo\r\n`;
    await header(`${fields}\r\nbody\r\n`);
    const { only } = listener.inject;
    expect(only.octets.toString('utf8')).toBe(`${added()}${fields}\r\nbody\r\n`);
    expect(only.arrival).toMatchObject({ messageId: '<1@x>', repairs: [] });
  });
});

describe('the body', () => {
  const everyOctet = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
  const bodies: { name: string; body: Buffer }[] = [
    { name: 'every octet', body: Buffer.concat([everyOctet, Buffer.from('\r\n')]) },
    { name: 'every octet twice', body: Buffer.concat([everyOctet, everyOctet, Buffer.from('\r\n')]) },
    { name: 'NUL', body: Buffer.from('a\0b\0\0\r\n\0\r\n') },
    { name: '8-bit that is no UTF-8', body: Buffer.from('gr\xfc\xdfe \xff\xfe\r\n', 'latin1') },
    { name: 'UTF-8', body: Buffer.from('grüße 👋\r\n') },
    { name: 'bare LF', body: Buffer.from('one\ntwo\n\nthree\n\r\n') },
    { name: 'bare CR', body: Buffer.from('one\rtwo\r\rthree\r\r\n') },
    { name: 'no final line end but the one of the dot', body: Buffer.from('end\r\n') },
    { name: 'empty lines', body: Buffer.from('\r\n\r\n\r\n') },
    { name: 'lines of dots', body: Buffer.from('.\r\n..\r\n...\r\n.a\r\n..a\r\n') },
    { name: 'a dot first', body: Buffer.from('.first\r\n') },
    { name: 'dots everywhere else', body: Buffer.from('a.\r\na..b\r\n. \r\n.\t\r\n') },
    { name: 'a line of 20,000 octets', body: Buffer.from(`${'x'.repeat(20_000)}\r\n`) },
    { name: 'what looks like a session', body: Buffer.from('QUIT\r\nMAIL FROM:<a@b.c>\r\nDATA\r\n354\r\n') },
  ];

  /** The package takes a bare LF for a line's end where it removes dots: none stands there. */
  const normal = (octets: Buffer): string => octets.toString('latin1').replace(/\r\n|\r|\n/g, '\r\n');

  it.each(bodies)('keeps $name but for its line ends, in one write and octet by octet', async ({ body }) => {
    await listener.start({ lenient: true });
    const session = await listener.session();
    expect(await session.send(Buffer.concat([Buffer.from(HEAD), stuffed(body)]))).toMatch(/^250 /);
    await session.toData();
    const slowly = Buffer.concat([Buffer.from(HEAD), stuffed(body), Buffer.from('.\r\n')]);
    if (slowly.length < 1_000) await session.writeSlowly(slowly);
    else session.write(slowly);
    expect(await session.reply()).toMatch(/^250 /);
    for (const message of listener.inject.messages) expect(message.body.toString('latin1')).toBe(normal(body));
    expect(listener.inject.messages).toHaveLength(2);
  });

  it('keeps a megabyte of anything', async () => {
    await listener.start({ lenient: true, maxMessageSize: 5_000_000 });
    let state = 12_345;
    const body = Buffer.alloc(1_200_000);
    const likely = Buffer.from('\r\n.\r\n.ab\0');
    for (let n = 0; n < body.length - 2; n++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      body[n] = n % 40_000 < 1_000 ? (likely[(state >>> 16) % likely.length] ?? 0) : (state >>> 16) & 0xff;
      // Known: a dot behind a bare LF loses a doubled dot.
      if (body[n] === 0x2e && body[n - 1] === 0x0a && body[n - 2] !== 0x0d) body[n] = 0x61;
    }
    body.write('\r\n', body.length - 2);
    const session = await listener.session();
    expect(await session.send(Buffer.concat([Buffer.from(HEAD), stuffed(body)]))).toMatch(/^250 /);
    expect(listener.inject.only.body.toString('latin1') === normal(body)).toBe(true);
  });
});

describe('the end of a message', () => {
  const smuggled =
    'MAIL FROM:<evil@contoso.com>\r\nRCPT TO:<victim@contoso.com>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n';

  it.each(['in one write', 'octet by octet'])('is CRLF.CRLF, %s', async (how) => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    const wire = `${HEAD}text\r\n.\r\n${smuggled}.\r\n`;
    if (how === 'in one write') session.write(wire);
    else await session.writeSlowly(wire);
    const codes = (await session.replies(5)).map((reply) => reply.slice(0, 3));
    expect(codes).toEqual(['250', '250', '250', '354', '250']);
    expect(listener.inject.messages.map(({ body }) => body.toString())).toEqual(['text\r\n', 'evil\r\n']);
  });

  it.each([
    { name: 'a dot alone', wire: '.\r\n', octets: '' },
    { name: 'a stuffed dot first', wire: '..\r\n.\r\n', octets: '.\r\n' },
    { name: 'an empty line, then the dot', wire: '\r\n.\r\n', octets: '' },
  ])('may come first: $name', async ({ wire, octets }) => {
    await listener.start();
    const session = await listener.session();
    for (const slowly of [false, true]) {
      await session.toData();
      if (slowly) await session.writeSlowly(wire);
      else session.write(wire);
      expect(await session.reply()).toMatch(/^250 /);
    }
    expect(listener.inject.messages.map(({ body }) => body.toString())).toEqual([octets, octets]);
  });
});
