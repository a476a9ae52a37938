import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import { createLog } from '../../src/watch/log.ts';
import type { LogOptions } from '../../src/watch/log.ts';
import { ALL_EVENTS, EVENTS, NOW } from './events.ts';

const root = join(import.meta.dirname, '../..');

type Done = (error?: Error | null) => void;

/** A stream that keeps what it gets; `take` decides about each chunk. */
class Sink extends Writable {
  text = '';
  constructor(take?: (keep: () => void, done: Done) => void) {
    super({
      // As standard output does it: an error does not end it.
      autoDestroy: false,
      write: (chunk: Buffer, _encoding, done) => {
        const keep = (): void => void (this.text += chunk.toString('utf8'));
        if (take !== undefined) return take(keep, done);
        keep();
        done();
      },
    });
  }
  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }
}

function logged(events: readonly Event[], options: Partial<LogOptions> = {}): string[] {
  const sink = new Sink();
  const log = createLog({ level: 'debug', addresses: 'full', destination: sink, now: () => NOW, ...options });
  for (const event of events) log.report(event);
  void log.flush();
  expect(sink.text === '' || sink.text.endsWith('\n')).toBe(true);
  return sink.lines;
}

type Parsed = Readonly<Record<string, unknown>>;
const parsed = (events: readonly Event[], options: Partial<LogOptions> = {}): Parsed[] =>
  logged(events, options).map((line) => JSON.parse(line) as Parsed);

const [accepted] = EVENTS['message.accepted'];
const [refused] = EVENTS['session.refused'];
const [unclear] = EVENTS['delivery.unknown'];
if (accepted === undefined || refused === undefined || unclear === undefined) throw new Error('no sample');

describe('the lines', () => {
  const golden = readFileSync(join(import.meta.dirname, 'log-lines.ndjson'), 'utf8')
    .trimEnd()
    .split('\n');
  const lines = logged(ALL_EVENTS);

  it.each(ALL_EVENTS.map((event, index) => [`${index} ${event.event}`, index] as const))('%s', (_, index) => {
    expect(lines[index]).toBe(golden[index]);
  });

  it('are one an event', () => {
    expect(lines).toHaveLength(ALL_EVENTS.length);
    expect(golden).toHaveLength(ALL_EVENTS.length);
  });

  it('begin with the same fields in the same order', () => {
    for (const line of lines) {
      const keys = Object.keys(JSON.parse(line) as Parsed);
      const order = ['time', 'level', 'event', 'id', 'messageId', 'message'].filter((key) => keys.includes(key));
      expect(keys.slice(0, order.length)).toEqual(order);
      expect(order).toContain('message');
    }
  });

  it.each([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ] as const)('at level %s are only as important as that', (level, shown) => {
    const all = parsed(ALL_EVENTS);
    const some = parsed(ALL_EVENTS, { level });
    expect(new Set(some.map((line) => line['level']))).toEqual(new Set(shown));
    expect(some).toEqual(all.filter((line) => shown.some((name) => name === line['level'])));
  });

  it('are the ones docs/log.md lists, at the levels it gives', () => {
    const levels = new Map<string, Set<string>>();
    for (const line of parsed(ALL_EVENTS)) {
      const name = String(line['event']);
      levels.set(name, (levels.get(name) ?? new Set()).add(String(line['level'])));
    }
    const rows = [
      ...readFileSync(join(root, 'docs/log.md'), 'utf8').matchAll(/^\| `([\w.]+)` \| ([\w, ]+) \| (.+) \|$/gm),
    ]
      .filter(([, name]) => name !== 'full' && name !== 'domain' && name !== 'hashed')
      .map(([, name, level]) => [name, (level ?? '').split(', ').toSorted()]);
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries([...levels].map(([name, set]) => [name, [...set].toSorted()])),
    );
    expect(rows).toHaveLength(Object.keys(EVENTS).length);
  });
});

/** The sample events whose line shows somebody's address; the Message-ID may. */
function showing(addresses: LogOptions['addresses']): Event[] {
  const people = /(?:alice|bob|scanner|pbx|notifications|ceo)@(?:contoso|fabrikam)\.com/i;
  return ALL_EVENTS.filter((event) => {
    const [line = ''] = logged([event], { addresses });
    return people.test(line.replaceAll('<scan.7@scanner.contoso.com>', ''));
  });
}

describe('addresses', () => {
  it.each(['domain', 'hashed'] as const)('in mode %s are in no field and no sentence of any event', (addresses) => {
    expect(showing(addresses)).toEqual([]);
    // The sample is one that would show them.
    expect(showing('full').length).toBeGreaterThan(15);
  });

  it('keep their domain in mode domain', () => {
    const [line] = parsed([accepted], { addresses: 'domain' });
    expect(line).toMatchObject({
      reversePath: '***@contoso.com',
      recipients: ['***@fabrikam.com', '***@fabrikam.com'],
      user: '***@contoso.com',
      messageId: '<scan.7@scanner.contoso.com>',
    });
  });

  it('are the same in every line in mode hashed, whatever their case, and in free text', () => {
    const [first] = parsed([accepted], { addresses: 'hashed' });
    const [second] = parsed([{ ...accepted, recipients: ['bob@FABRIKAM.com'] }], { addresses: 'hashed' });
    const [third] = parsed([{ ...refused, detail: 'no room for "bob@fabrikam.com".' }], { addresses: 'hashed' });
    const recipients = first?.['recipients'] as string[];
    expect(recipients[0]).toMatch(/^#[0-9a-f]{12}$/);
    expect(recipients[1]).not.toBe(recipients[0]);
    expect(second?.['recipients']).toEqual([recipients[1]]);
    expect(third?.['detail']).toBe(`no room for "${recipients[1]}".`);
  });

  it('show the null reverse-path as it is on the wire', () => {
    for (const addresses of ['full', 'domain', 'hashed'] as const) {
      expect(parsed([{ ...accepted, reversePath: '' }], { addresses })[0]).toMatchObject({ reversePath: '<>' });
    }
  });

  it.each([
    ['to alice@contoso.com.', 'to ***@contoso.com.'],
    ['<alice@contoso.com>,<bob@fabrikam.com>', '<***@contoso.com>,<***@fabrikam.com>'],
    ['"alice smith"@contoso.com said', '***@contoso.com said'],
    [String.raw`"a\"b"@contoso.com`, '***@contoso.com'],
    ["'o'brien@contoso.com'", "'***@contoso.com'"],
    ['bounce+alice=contoso.com@list.example', '***@list.example'],
    ['?user=alice%40contoso.com&x', '***@contoso.com&x'],
    ['jürgen@grüße.example hat', '***@grüße.example hat'],
    ['alice@[192.0.2.1]', '***@[192.0.2.1]'],
    ['mailto:alice@contoso.com', 'mailto:***@contoso.com'],
    ['alice\u200b@contoso.com', '***@contoso.com'],
    ['alice\r\n@contoso.com', 'alice @contoso.com'],
    ['at 10:00 @ home', 'at 10:00 @ home'],
  ])('in the text %j are written %j', (text, shown) => {
    expect(parsed([{ ...refused, detail: text }], { addresses: 'domain' })[0]?.['detail']).toBe(shown);
  });

  it('are not mistaken for the Message-ID, which stays', () => {
    const [line] = parsed([unclear], { addresses: 'domain' });
    expect(line?.['reason']).toBe(
      'Look for Message-ID <scan.7@scanner.contoso.com> in the mailbox of ***@fabrikam.com',
    );
  });

  it('are masked at the end of a text that had to be cut', () => {
    for (let padding = 4_060; padding < 4_100; padding++) {
      const detail = `${'x '.repeat(padding / 2)}alice.in.wonderland@contoso.com and more`;
      const [line] = logged([{ ...refused, detail }], { addresses: 'domain' });
      expect(line).not.toContain('alice');
    }
  });

  it('hide a user name that has no domain: it may be a password typed into the wrong field', () => {
    const [event] = EVENTS['auth.failed'];
    if (event === undefined) throw new Error('no sample');
    const [line] = logged([{ ...event, user: 'hunter2' }], { addresses: 'domain' });
    expect(line).not.toContain('hunter2');
  });
});

describe('a hostile value', () => {
  const hostile = [
    'x\r\n{"time":"2026","level":"info","event":"message.accepted"}',
    'a\u2028b\u2029c\u0085d',
    '\u001b[2J\u001b[31mred\u009b1m',
    'user\u202egpj.exe\u2066\u200f',
    '","level":"info","x":"',
    '\ud800 half',
    '\u0000\u007f\b',
    '%s %d %j %o',
    '__proto__',
  ];

  it.each(hostile.map((value) => [JSON.stringify(value), value] as const))(
    '%s stays one harmless value',
    (_, value) => {
      const lines = logged([
        {
          ...accepted,
          id: value,
          messageId: value,
          reversePath: value,
          recipients: [value],
          items: [value],
          repairs: [value],
          origin: { source: 'smtp', name: value, peer: value, helo: value, user: value, tls: value },
        },
        { ...refused, peer: value, listener: value, user: value, reply: value, detail: value },
        {
          ...unclear,
          status: { ...unclear.status, cause: value, text: value, reason: value, ids: { requestId: value } },
        },
        { event: 'bug', where: value, error: new Error(value) },
        { event: 'gateway.stopping', why: value },
      ]);
      expect(lines).toHaveLength(5);
      for (const line of lines) {
        expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        expect(JSON.stringify(JSON.parse(line))).toBe(line);
        // Escaped ones would come back in whatever decodes the line.
        expect(line).not.toMatch(/\\u|\\[rnbft]/);
        expect(line.split('"level":')).toHaveLength(2);
      }
      expect(JSON.parse(lines[0] ?? '')).toMatchObject({ event: 'message.accepted', level: 'info' });
      expect(JSON.parse(lines[1] ?? '')).toMatchObject({ event: 'session.refused', level: 'warn' });
    },
  );

  it('of any size makes a bounded line, quickly', () => {
    const big = `${'alice@contoso.com '.repeat(50_000)}`;
    const many = Array.from({ length: 5_000 }, (_, index) => `${'r'.repeat(300)}${index}@contoso.com`);
    const begun = performance.now();
    const lines = logged(
      [
        {
          ...accepted,
          messageId: big,
          recipients: many,
          items: many,
          repairs: [big, ...many],
          origin: { source: 'smtp', name: big, peer: big, helo: big, user: big, tls: big },
        },
        { ...unclear, status: { ...unclear.status, text: big, reason: big } },
        { ...refused, reply: '@'.repeat(1_000_000), detail: 'a'.repeat(1_000_000), user: '"'.repeat(1_000_000) },
        { event: 'bug', where: big, error: new Error('\\"'.repeat(100_000)) },
      ],
      { addresses: 'hashed' },
    );
    expect(performance.now() - begun).toBeLessThan(2_000);
    expect(lines).toHaveLength(4);
    for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThan(32_768);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ recipientCount: 5_000, itemCount: 5_000 });
    expect((JSON.parse(lines[0] ?? '') as { recipients: string[] }).recipients).toHaveLength(20);
  });
});

describe('a secret that came too far', () => {
  const jwt = 'eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL291dGxvb2sifQ.c2lnbmF0dXJl';
  it.each([
    [`Authorization: Bearer ${jwt}`, 'c2lnbmF0dXJl'],
    [`got ${jwt} back`, 'eyJhdWQ'],
    ['POST client_id=1&client_secret=s3cr~et.Q8&scope=x', 's3cr~et'],
    ['{"access_token":"abc.def","client_secret": "hush-hush"}', 'hush-hush'],
    ['{"access_token":"abc.def"}', 'abc.def'],
    ['AUTH PLAIN AHBieABodW50ZXIy', 'AHBieABodW50ZXIy'],
    ['Authorization: Basic cGJ4Omh1bnRlcjI=', 'cGJ4'],
    ['password=hunter2', 'hunter2'],
    ['-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----', 'MIIEvQ'],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBg', 'MIIEvQ'],
  ])('%j is masked', (text, secret) => {
    const [advice] = EVENTS['token.failed'];
    if (advice === undefined) throw new Error('no sample');
    const lines = logged([
      { ...refused, detail: text, reply: text, user: text },
      { ...advice, advice: text },
      { ...unclear, status: { ...unclear.status, text, reason: text } },
      { event: 'bug', where: 'x', error: new Error(text) },
    ]);
    for (const line of lines) expect(line).not.toContain(secret);
    expect(lines[0]).toMatch(/\[(?:secret|token|private key)\]/);
  });

  it.each([
    'Basic authentication is disabled in this tenant',
    'Basic Authentication and NTLM authentication',
    'Bearer tokens are accepted',
    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    'the password has expired',
  ])('%j is none and stays readable', (text) => {
    expect(parsed([{ ...refused, detail: text }])[0]?.['detail']).toBe(text);
  });
});

/** Takes nothing until it is let go. */
function stuckSink(): { sink: Sink; letGo: () => void } {
  let open = false;
  const held: (() => void)[] = [];
  const sink = new Sink((keep, done) => {
    const go = (): void => {
      keep();
      done();
    };
    if (open) go();
    else held.push(go);
  });
  return {
    sink,
    letGo() {
      open = true;
      for (const go of held.splice(0)) go();
    },
  };
}

describe('a destination in trouble', () => {
  const bulky: Event = { ...refused, detail: 'x '.repeat(900) };

  it('that is stuck costs bounded memory, and what was dropped is told', async () => {
    const { sink: stuck, letGo } = stuckSink();
    const log = createLog({ level: 'info', addresses: 'full', destination: stuck, now: () => NOW });
    for (let index = 0; index < 20_000; index++) log.report(bulky);
    expect(stuck.writableLength).toBeLessThan(8_100_000);
    letGo();
    await log.flush();
    const before = stuck.lines.length;
    expect(before).toBeLessThan(20_000);
    log.report({ event: 'gateway.stopping', why: 'SIGTERM' });
    await log.flush();
    const after = stuck.lines.slice(before).map((line) => JSON.parse(line) as Parsed);
    expect(after).toMatchObject([{ event: 'log.dropped', lines: 20_000 - before }, { event: 'gateway.stopping' }]);
  });

  it('that is stuck is told where events are counted', async () => {
    const { sink: stuck, letGo } = stuckSink();
    const told: Event[] = [];
    const log = createLog({
      level: 'info',
      addresses: 'full',
      destination: stuck,
      report: (event) => {
        told.push(event);
        log.report(event);
      },
    });
    for (let index = 0; index < 10_000; index++) log.report(bulky);
    letGo();
    await log.flush();
    log.report({ event: 'gateway.ready', seconds: 1 });
    expect(told).toEqual([{ event: 'log.dropped', lines: expect.any(Number) as number }]);
    await log.flush();
    expect(stuck.lines.filter((line) => line.includes('"log.dropped"'))).toHaveLength(1);
  });

  it('that never comes back does not keep flush waiting for ever', async () => {
    const { sink: stuck, letGo } = stuckSink();
    const log = createLog({ level: 'info', addresses: 'full', destination: stuck });
    log.report({ event: 'gateway.ready', seconds: 1 });
    const begun = performance.now();
    await log.flush();
    expect(performance.now() - begun).toBeGreaterThan(1_500);
    expect(performance.now() - begun).toBeLessThan(5_000);
    letGo();
  });

  it('that is gone ends the log and nothing else', async () => {
    let tries = 0;
    const gone = new Sink((_keep, done) => {
      tries++;
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    });
    const log = createLog({ level: 'info', addresses: 'full', destination: gone });
    for (let index = 0; index < 3; index++) {
      log.report({ event: 'gateway.ready', seconds: 1 });
      await new Promise((wake) => setImmediate(wake));
    }
    await log.flush();
    expect(tries).toBe(1);
  });

  it('that is full for a while costs the lines of that while', async () => {
    let full = true;
    const disk = new Sink((keep, done) => {
      if (!full) keep();
      done(full ? Object.assign(new Error('no space'), { code: 'ENOSPC' }) : null);
    });
    // What standard output does after an error.
    disk.on('error', () => Reflect.apply(Reflect.get(disk, '_undestroy') as () => void, disk, []));
    const log = createLog({ level: 'info', addresses: 'full', destination: disk, now: () => NOW });
    log.report({ event: 'gateway.ready', seconds: 1 });
    log.report({ event: 'gateway.ready', seconds: 1 });
    await new Promise((wake) => setTimeout(wake, 5));
    full = false;
    log.report({ event: 'gateway.ready', seconds: 2 });
    await log.flush();
    expect(disk.lines.map((line) => JSON.parse(line) as Parsed)).toMatchObject([
      { event: 'log.dropped', lines: 2 },
      { event: 'gateway.ready', seconds: 2 },
    ]);
  });
});
