/** Logins: who gets in, what is refused and how, and that no password is ever told. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { base64, MESSAGE, plain, SECRET_HASH, TestListener } from './listener.ts';
import type { Session } from './session.ts';

let listener: TestListener;

beforeEach(() => {
  listener = new TestListener();
});

afterEach(() => listener.end());

const open = { auth: 'required', allowInsecureAuth: true } as const;

/** Says the lines one by one; the last reply. */
async function talk(session: Session, lines: readonly string[]): Promise<string> {
  let reply = '';
  for (const line of lines) reply = await session.say(line);
  return reply;
}

const ways = [
  {
    name: 'PLAIN with initial response',
    lines: (u: string, p: string) => [`AUTH PLAIN ${plain(u, p)}`],
  },
  { name: 'PLAIN without', lines: (u: string, p: string) => ['AUTH PLAIN', plain(u, p)] },
  { name: 'LOGIN with initial response', lines: (u: string, p: string) => [`AUTH LOGIN ${base64(u)}`, base64(p)] },
  { name: 'LOGIN without', lines: (u: string, p: string) => ['AUTH LOGIN', base64(u), base64(p)] },
  { name: 'login in lower case', lines: (u: string, p: string) => ['auth login', base64(u), base64(p)] },
];

describe.each(ways)('$name', ({ lines }) => {
  const mechanism = (lines('u', 'p')[0]?.split(' ')[1] ?? '').toUpperCase();

  it('lets in who knows the password', async () => {
    await listener.start(open);
    const session = await listener.session();
    expect(await talk(session, lines('pbx', 'secret'))).toMatch(/^235 2\.7\.0 /);
    expect(await session.send(MESSAGE)).toMatch(/^250 2\.0\.0 /);
    expect(listener.inject.only.origin.user).toBe('pbx');
    expect(listener.inject.only.fields('received').join('')).toMatch(/ with ESMTPA id /);
    expect(listener.told('auth.succeeded')).toEqual([
      { event: 'auth.succeeded', listener: 'lan', peer: '127.0.0.1', user: 'pbx', mechanism },
    ]);
  });

  it.each([
    ['pbx', 'wrong'],
    ['pbx', ''],
    ['nobody', 'secret'],
    ['PBX', 'secret'],
  ])('does not let in %j with %j', async (user, password) => {
    await listener.start(open);
    const session = await listener.session();
    expect(await talk(session, lines(user, password))).toMatch(/^535 5\.7\.8 /);
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toMatch(/^530 5\.7\.0 /);
    expect(listener.told('auth.failed')).toEqual([
      { event: 'auth.failed', listener: 'lan', peer: '127.0.0.1', user, mechanism },
    ]);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['auth', 'auth']);
    // A second try is allowed.
    expect(await talk(session, lines('pbx', 'secret'))).toMatch(/^235 /);
  });
});

describe('AUTH', () => {
  it.each([
    { setup: { tls: 'optional', auth: 'optional' }, isIn: false },
    { setup: { tls: 'required', auth: 'required' }, isIn: false },
    { setup: { tls: 'required', auth: 'required', allowInsecureAuth: true }, isIn: false },
    // Without TLS there is nothing to wait for, and still nobody may say a password in the clear.
    { setup: { tls: 'none', auth: 'optional' }, isIn: false },
    { setup: { tls: 'none', auth: 'required' }, isIn: false },
    { setup: { tls: 'none', auth: 'required', allowInsecureAuth: true }, isIn: true },
    { setup: { tls: 'optional', auth: 'required', allowInsecureAuth: true }, isIn: true },
  ] as const)('in the clear, $setup: $isIn', async ({ setup, isIn }) => {
    await listener.start(setup);
    for (const line of [`AUTH PLAIN ${plain('pbx', 'secret')}`, 'AUTH LOGIN', `AUTH LOGIN ${base64('pbx')}`]) {
      const session = await listener.session();
      const reply = await session.say(line);
      expect(reply).toMatch(isIn ? /^(?:235 2\.7\.0|334) / : /^538 5\.7\.11 /);
    }
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(isIn ? [] : ['tls', 'tls', 'tls']);
    expect(listener.told('auth.succeeded')).toHaveLength(isIn ? 1 : 0);
  });

  it('works under TLS', async () => {
    await listener.start({ tls: 'required', auth: 'required' });
    const session = await listener.session();
    await session.startTls();
    await session.say('EHLO client.test');
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^235 /);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.only.fields('received').join('')).toMatch(/ with\s+ESMTPSA\s/);
  });

  it('required: 530 5.7.0 to MAIL without it', async () => {
    await listener.start(open);
    const session = await listener.session();
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toMatch(/^530 5\.7\.0 /);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['auth']);
    expect(listener.inject.asked).toEqual([]);
  });

  it('optional: mail goes without it', async () => {
    await listener.start({ auth: 'optional', allowInsecureAuth: true });
    const session = await listener.session();
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.only.origin).not.toHaveProperty('user');
  });

  it('none: there is no such command', async () => {
    await listener.start({ auth: 'none', allowInsecureAuth: true });
    const session = await listener.session();
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^50[02] 5\.5\.[12] /);
  });

  it('is given up with *, refused twice, refused in other forms', async () => {
    await listener.start(open);
    const session = await listener.session();
    await session.say('AUTH LOGIN');
    expect(await session.say('*')).toMatch(/^501 5\./);
    expect(await session.say('AUTH')).toMatch(/^50[14] 5\.5\.4 /);
    expect(await session.say('AUTH CRAM-MD5')).toMatch(/^504 5\.5\.4 /);
    expect(await session.say('AUTH XOAUTH2 eA==')).toMatch(/^504 5\.5\.4 /);
    expect(await session.say('AUTH PLAIN ====')).toMatch(/^501 5\.5\.4 /);
    expect(await session.say(`AUTH PLAIN ${plain('p\r\nbx', 'secret')}`)).toMatch(/^501 5\.5\.4 /);
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^235 /);
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^503 5\.5\.1 /);
  });

  it('hashes that are none let nobody in and break nothing', async () => {
    const users = new Map([
      ['ssha', '{SSHA}abcdef'],
      ['costly', SECRET_HASH.replace('ln=10', 'ln=99')],
      ['short', `${SECRET_HASH.slice(0, SECRET_HASH.lastIndexOf('$'))}$A`],
    ]);
    await listener.start({ ...open, users });
    for (const user of users.keys()) {
      const session = await listener.session();
      expect(await session.say(`AUTH PLAIN ${plain(user, 'secret')}`)).toMatch(/^535 5\.7\.8 /);
    }
    expect(listener.told('bug')).toEqual([]);
  });

  it('tells no password to anybody', async () => {
    await listener.start(open);
    const secrets = ['correct-horse', 'wrong-horse'];
    for (const password of [...secrets, 'secret']) {
      for (const { lines } of ways) {
        const session = await listener.session();
        await talk(session, lines('pbx', password));
        await session.say('QUIT');
      }
    }
    // Sent where no password belongs.
    const lost = await listener.session();
    await lost.say(base64('correct-horse'));
    await lost.say(`AUTH PLAIN ${base64('correct-horse')}`);
    await lost.say(`AUTH WHAT ${base64('correct-horse')}`);
    const told = JSON.stringify(listener.events);
    for (const secret of [...secrets, SECRET_HASH]) {
      expect(told).not.toContain(secret);
      expect(told).not.toContain(base64(secret));
      expect(told).not.toContain(plain('pbx', secret));
    }
    expect(told).not.toContain(plain('pbx', 'secret'));
    expect(told).not.toContain(base64('secret'));
  });
});
