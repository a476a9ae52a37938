/** Where the policy is asked: at connect, login, MAIL, RCPT and header time; bans and rates. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loginGuard } from '../../src/smtp/limits.ts';
import { clientRates } from '../../src/smtp/rates.ts';
import { MESSAGE, plain, TestListener, until } from './listener.ts';
import type { Session } from './session.ts';

let listener: TestListener;
beforeEach(() => {
  listener = new TestListener();
});
afterEach(() => listener.end());

const MAIL = 'MAIL FROM:<a@contoso.com>';
const LOGIN = { auth: 'optional', allowInsecureAuth: true } as const;

describe('loginFrom', () => {
  it('lets a network in that must log in before MAIL', async () => {
    await listener.start({ ...LOGIN, allow: ['10.0.0.0/8'], loginFrom: ['127.0.0.0/8'] });
    const session = await listener.session();
    expect(await session.say(MAIL)).toBe('530 5.7.0 Log in first (AUTH)');
    expect(listener.refusals).toMatchObject([{ refusal: 'auth', detail: expect.stringContaining('loginFrom') }]);
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^235 /);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
  });

  it('asks nothing of the others', async () => {
    await listener.start({ ...LOGIN, allow: ['127.0.0.0/8'], loginFrom: ['0.0.0.0/0'] });
    expect(await (await listener.session()).send(MESSAGE)).toMatch(/^250 /);
  });
});

describe('lists', () => {
  it('MAIL: a sender that is not allowed, with the list that said no', async () => {
    await listener.start({ policy: { senders: { allow: ['*@contoso.com'] } } });
    const session = await listener.session();
    const reply = await session.say('MAIL FROM:<a@evil.example>');
    expect(reply).toMatch(/^550 5\.7\.1 .*senders\.allow/);
    expect(listener.refusals).toMatchObject([{ refusal: 'sender', reply }]);
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 /);
    expect(await session.say('MAIL FROM:<>')).toMatch(/^250 /);
    expect(listener.inject.asked).toHaveLength(1);
  });

  it('RCPT: each for itself; quotes are no way round', async () => {
    await listener.start({ policy: { recipients: { allow: ['*'], deny: ['ceo@contoso.com'] } } });
    const session = await listener.session();
    await session.say(MAIL);
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^250 /);
    for (const address of ['ceo@contoso.com', 'CEO@Contoso.COM', '"ceo"@contoso.com', '"c\\eo"@contoso.com'])
      expect(await session.say(`RCPT TO:<${address}>`)).toMatch(/^550 5\.7\.1 /);
    expect(await session.say('DATA')).toMatch(/^354 /);
    expect(await session.say(`${MESSAGE}.`)).toMatch(/^250 /);
    expect(listener.inject.only.envelope.recipients).toEqual([{ address: 'b@contoso.com' }]);
    expect(new Set(listener.refusals.map(({ refusal }) => refusal))).toEqual(new Set(['recipient']));
  });

  it('a domain compares in its ASCII form', async () => {
    await listener.start({ policy: { recipients: { allow: ['*@bücher.example'], deny: [] } } });
    const session = await listener.session();
    await session.say(MAIL);
    expect(await session.say('RCPT TO:<b@xn--bcher-kva.example>')).toMatch(/^250 /);
    expect(await session.say('RCPT TO:<b@bücher.example>')).toMatch(/^250 /);
    expect(await session.say('RCPT TO:<b@bucher.example>')).toMatch(/^550 /);
  });

  it('of the user apply after the login only', async () => {
    await listener.start({ ...LOGIN, policy: { users: [{ name: 'pbx', senders: ['pbx@contoso.com'] }] } });
    const session = await listener.session();
    expect(await session.say(MAIL)).toMatch(/^250 /);
    await session.say('RSET');
    await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`);
    expect(await session.say(MAIL)).toMatch(/^550 5\.7\.1 /);
    expect(await session.say('MAIL FROM:<pbx@contoso.com>')).toMatch(/^250 /);
    expect(listener.refusals).toMatchObject([{ user: 'pbx', refusal: 'sender' }]);
  });

  it('header: From and Sender must be allowed, and no message is left behind', async () => {
    await listener.start({ policy: { senders: { allow: ['noreply@contoso.com'] } } });
    const session = await listener.session();
    const send = (head: string): Promise<string> => session.send(`${head}\r\n\r\nx\r\n`, 'noreply@contoso.com');
    for (const head of [
      'From: ceo@contoso.com',
      'From: noreply@contoso.com, ceo@contoso.com',
      'From: noreply@contoso.com\r\nSender: ceo@contoso.com',
      'From: noreply@contoso.com\r\nFrom: ceo@contoso.com',
      'From: "noreply@contoso.com" <ceo@contoso.com>',
      'From: =?utf-8?q?noreply=40contoso=2Ecom?= <ceo@contoso.com>',
      'From: ceo@contoso.com (noreply@contoso.com)',
      'From: noreply@cont\u043eso.com',
    ])
      expect(await send(head)).toMatch(/^550 5\.7\.1 /);
    expect(listener.inject.messages).toEqual([]);
    expect(new Set(listener.refusals.map(({ refusal }) => refusal))).toEqual(new Set(['sender']));
    expect(await send('From: No Reply <noreply@contoso.com>')).toMatch(/^250 /);
    expect(listener.inject.only.arrival?.mailbox).toBe('gateway@contoso.com');
  });

  it('the mailbox that sends is the one of the rule', async () => {
    await listener.start({
      mapping: { rules: [{ from: '*@pbx.local', listener: 'lan', mailbox: 'pbx@contoso.com', header: 'keep' }] },
    });
    const session = await listener.session();
    expect(await session.send('From: x@pbx.local\r\n\r\nx\r\n')).toMatch(/^250 /);
    expect(listener.inject.only.arrival?.mailbox).toBe('pbx@contoso.com');
  });
});

describe('failed logins', () => {
  let time = Date.UTC(2026, 10, 23, 9, 0, 0);
  const now = (): number => time;
  const guard = (delay = 0): ReturnType<typeof loginGuard> =>
    loginGuard({ failures: 3, within: 600_000, ban: 900_000, delay }, now);
  const wrong = (session: Session): Promise<string> => session.say(`AUTH PLAIN ${plain('pbx', 'wrong')}`);
  const right = (session: Session): Promise<string> => session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`);

  it('lead to a ban of the address, told once, which ends', async () => {
    await listener.start({ ...LOGIN, logins: guard(), now });
    const session = await listener.session();
    for (let n = 0; n < 3; n++) expect(await wrong(session)).toMatch(/^535 5\.7\.8 /);
    expect(listener.told('auth.banned')).toEqual([
      { event: 'auth.banned', listener: 'lan', peer: '127.0.0.1', until: time + 900_000, failures: 3 },
    ]);
    const reply = '421 4.7.0 Too many failed logins from 127.0.0.1: try again after 2026-11-23T09:15:00Z';
    expect(await right(session)).toBe(reply);
    await session.closed();
    expect(listener.refusals.at(-1)).toMatchObject({ refusal: 'banned', reply });
    // Whoever need not log in goes on.
    const other = await listener.session();
    expect(await other.send(MESSAGE)).toMatch(/^250 /);
    time += 900_001;
    expect(await right(await listener.session())).toMatch(/^235 /);
    expect(listener.told('auth.succeeded')).toHaveLength(1);
  });

  it('keep an address out at the door where it could only log in', async () => {
    await listener.start({ ...LOGIN, auth: 'required', logins: guard(), now });
    const session = await listener.session();
    for (let n = 0; n < 3; n++) await wrong(session);
    expect(await (await listener.connect()).reply()).toMatch(/^421 4\.7\.0 Too many failed logins/);
  });

  it('never come from good ones', async () => {
    await listener.start({ ...LOGIN, logins: guard(), now });
    for (let n = 0; n < 20; n++) {
      const session = await listener.session();
      const failing = n % 2 === 0 ? await wrong(session) : '535 ';
      expect(failing).toMatch(/^535 /);
      expect(await right(session)).toMatch(/^235 /);
    }
    expect(listener.told('auth.banned')).toEqual([]);
  });

  it('are answered late', async () => {
    await listener.start({ ...LOGIN, logins: guard(200) });
    const session = await listener.session();
    const begun = performance.now();
    expect(await wrong(session)).toMatch(/^535 /);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(190);
  });

  it('of a client that does not wait for the answer count all the same', async () => {
    await listener.start({ ...LOGIN, logins: guard(100) });
    for (let n = 0; n < 3; n++) {
      const session = await listener.session();
      session.write(`AUTH PLAIN ${plain('pbx', 'wrong')}\r\n`);
      session.socket.end();
      await session.closed();
      await until('the failure', () => listener.told('auth.failed').length === n + 1);
    }
    expect(await right(await listener.session())).toMatch(/^421 /);
  });
});

describe('messages a minute', () => {
  const rules = {
    users: [
      { name: 'pbx', perMinute: 2 },
      { name: 'erp', perMinute: Infinity },
    ],
    clients: [
      { networks: ['192.0.2.0/24'], perMinute: 1 },
      { networks: ['0.0.0.0/0'], perMinute: 3 },
    ],
  };
  const client = { listener: 'lan', peer: '192.0.2.7', tls: false };

  it('by user, or else by address', () => {
    let time = 0;
    const rate = clientRates(rules, () => time);
    const passes = (of: object): boolean => rate({ ...client, ...of }) === undefined;
    expect([passes({}), passes({}), passes({ peer: '192.0.2.8' })]).toEqual([true, false, true]);
    expect([1, 2, 3].map(() => passes({ user: 'pbx' }))).toEqual([true, true, false]);
    expect([1, 2, 3, 4, 5].every(() => passes({ user: 'erp' }))).toBe(true);
    expect([1, 2, 3, 4].map(() => passes({ peer: '203.0.113.1' }))).toEqual([true, true, true, false]);
    expect([1, 2].every(() => passes({ peer: '2001:db8::1' }))).toBe(true);
    time = 60_000;
    expect([passes({}), passes({ user: 'pbx' })]).toEqual([true, true]);
  });

  it('beyond them MAIL is put off', async () => {
    await listener.start({ rate: clientRates({ users: [], clients: [{ networks: ['127.0.0.0/8'], perMinute: 1 }] }) });
    const session = await listener.session();
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    const reply = await session.say(MAIL);
    expect(reply).toBe('450 4.7.1 127.0.0.1 may send 1 messages a minute (perMinute): try again later');
    expect(listener.refusals).toMatchObject([{ refusal: 'rate', reply }]);
  });
});
