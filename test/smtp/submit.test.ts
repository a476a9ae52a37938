/** The SMTP transport against the sandbox's submission, over real sockets and TLS. */
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SpoolError } from '../../src/mail/spool.ts';
import type { DeliveryStatus } from '../../src/mail/status.ts';
import type { Outgoing } from '../../src/mail/transport.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import type { SmtpFault } from '../../src/sandbox/smtp-fault.ts';
import type { SubmissionOptions } from '../../src/smtp/submit.ts';
import { openSite, outgoing, PEOPLE, SENDER } from './submit-site.ts';
import type { Site } from './submit-site.ts';

const [ANN, BOB, CID] = PEOPLE;
const signal = AbortSignal.timeout(60_000);
const mail = (more = '', body = 'Hello\r\n'): string =>
  `From: ${SENDER}\r\nTo: ${ANN}\r\nSubject: test\r\n${more}Message-ID: <m@app.test>\r\n\r\n${body}`;

/** As AUTH LOGIN says it. */
const USER = Buffer.from(SENDER).toString('base64');

let site: Site;
beforeAll(async () => (site = await openSite()));
afterAll(async () => await site.close());
afterEach(() => {
  site.sandbox.clearFaults();
  site.sandbox.identity.faults.clear();
});

const deliver = async (one: Outgoing, options: Partial<SubmissionOptions> = {}): Promise<DeliveryStatus> =>
  await site.transport(options).deliver(one, signal);
const last = () => site.sandbox.arrived().at(-1);
const lastEnvelope = () => site.sandbox.smtp.transactions.at(-1);

describe('a message', () => {
  it('goes out as it is, by the mailbox that sends, with the envelope of its own', async () => {
    const body = '.\r\n..two\r\n. three\r\nümlaut\r\n.\r\n';
    const message = mail('X-Test: 1\r\n', body);
    const given = mail('X-Test: 1\r\nX-Precious: yes\r\n', body);
    const status = await deliver(outgoing(given, [ANN, BOB], { chunk: 7 }));
    expect(status).toMatchObject({ outcome: 'relayed', code: '2.0.0', cause: 'SMTP 250' });
    expect(last()).toMatchObject({ mailbox: SENDER, to: [ANN], bcc: [BOB] });
    expect(last()?.submitted.toString()).toBe(message);
    expect(lastEnvelope()?.user).toBe(SENDER);
    expect(lastEnvelope()?.mail).toBe(`FROM:<${SENDER}> BODY=8BITMIME SIZE=${Buffer.byteLength(message)}`);
  });

  it('keeps To and Cc as they were sent, and loses Bcc and what shows a blind recipient', async () => {
    const more = `Cc: Someone <else@elsewhere.test>\r\nBcc: ${BOB}\r\n ,${CID}\r\nResent-Bcc: x@y.test\r\nDelivered-To: ${BOB}\r\nDelivered-To: ${ANN}\r\n`;
    await deliver(outgoing(mail(more), [ANN, BOB]));
    const sent = last()?.submitted.toString() ?? '';
    expect(sent).toContain('Cc: Someone <else@elsewhere.test>\r\n');
    expect(sent).toContain(`Delivered-To: ${ANN}\r\n`);
    expect(sent).not.toMatch(/bcc/i);
    expect(sent).not.toContain(BOB);
    expect(last()).toMatchObject({ to: [ANN], cc: [], bcc: [BOB], outside: [] });
  });

  it('makes no new field and no end of a bare CR', async () => {
    await deliver(outgoing(mail('X-A: 1\rBcc: z@z.test\r\n', 'a\r.\rb\r\n'), [ANN]));
    const sent = last()?.submitted.toString() ?? '';
    expect(sent).toContain('X-A: 1 Bcc: z@z.test\r\n');
    expect(sent.endsWith('\r\n\r\na\r\n.\r\nb\r\n')).toBe(true);
  });

  it('passes on the DSN parameters of each recipient, and SMTPUTF8 where it is needed', async () => {
    const recipients = [
      { address: ANN, notify: ['never'], originalRecipient: 'rfc822;a+b=c@x.test' },
      { address: BOB, notify: ['success', 'failure'] },
      { address: 'jürgen@contoso.test' },
      { address: CID },
    ] as const;
    await deliver(
      outgoing(mail(), [], { envelope: { reversePath: '', recipients, ret: 'headers', envelopeId: 'a b+c' } }),
    );
    expect(lastEnvelope()?.mail).toMatch(/^FROM:<> SMTPUTF8 BODY=8BITMIME SIZE=\d+ RET=HDRS ENVID=a\+20b\+2Bc$/);
    expect(lastEnvelope()?.recipients).toEqual([
      `TO:<${ANN}> NOTIFY=NEVER ORCPT=rfc822;a+2Bb+3Dc@x.test`,
      `TO:<${BOB}> NOTIFY=SUCCESS,FAILURE`,
      'TO:<jürgen@contoso.test>',
      `TO:<${CID}>`,
    ]);
    await deliver(outgoing(mail('X: ü\r\n'), [ANN], { envelope: { smtpUtf8: true } }));
    expect(lastEnvelope()?.mail).toMatch(/ SMTPUTF8$/);
    site.sandbox.smtp.fault({ at: 'ehlo', hides: ['DSN', 'PIPELINING', '8BITMIME', 'SIZE'] });
    await deliver(outgoing(mail(), [], { envelope: { recipients, ret: 'full' } }));
    expect(lastEnvelope()?.mail).toBe(`FROM:<${SENDER}> SMTPUTF8`);
    expect(lastEnvelope()?.recipients[1]).toBe(`TO:<${BOB}>`);
  });

  it('with an address beyond ASCII does not go to a server without SMTPUTF8; a domain has another form', async () => {
    site.sandbox.smtp.fault({ at: 'ehlo', hides: ['SMTPUTF8'] });
    expect(await deliver(outgoing(mail(), ['jürgen@contoso.test']))).toMatchObject({
      outcome: 'failed',
      code: '5.6.7',
    });
    expect(await deliver(outgoing(mail(), ['ann@bücher.test']))).toMatchObject({ outcome: 'relayed' });
    expect(lastEnvelope()?.recipients).toEqual(['TO:<ann@xn--bcher-kva.test>']);
  });

  it('names a recipient once, and is not sent where nobody can be named', async () => {
    await deliver(outgoing(mail(), [ANN, 'a@BÜCHER.test', 'a@bücher.test']));
    expect(lastEnvelope()?.recipients).toEqual([`TO:<${ANN}>`, 'TO:<a@xn--bcher-kva.test>']);
    expect(await deliver(outgoing(mail(), ['a\r\nDATA@x.test']))).toMatchObject({ outcome: 'failed', code: '5.1.3' });
    const status = await deliver(outgoing(mail(), [ANN, 'a b@x.test']));
    expect(status.apart).toMatchObject([{ recipients: ['a b@x.test'], status: { outcome: 'failed', code: '5.1.3' } }]);
    const odd = { envelope: { reversePath: '"<"@x.test' } };
    expect(await deliver(outgoing(mail(), [ANN], odd))).toMatchObject({ outcome: 'failed', code: '5.1.7' });
  });

  it('of many megabytes arrives octet for octet', async () => {
    const line = `${'.'.repeat(70)}\r\n`;
    const message = mail('', line.repeat(150_000));
    const status = await deliver(outgoing(message, [ANN], { chunk: 262_144 }));
    expect(status.outcome).toBe('relayed');
    expect(last()?.submitted.equals(Buffer.from(message))).toBe(true);
  });

  it('that the spool cannot read to its end is not sent', async () => {
    const one = outgoing(mail(), [ANN]);
    const before = site.sandbox.arrived().length;
    const broken: Outgoing = {
      ...one,
      async *open() {
        yield* one.open();
        throw new SpoolError('damaged', 'half of it is gone');
      },
    };
    // The header can be read, and the connection is made, before it shows.
    expect(await deliver(broken)).toMatchObject({ outcome: 'delayed', code: '4.3.0', cause: 'spool damaged' });
    const short: Outgoing = { ...one, item: { ...one.item, size: one.item.size + 1 } };
    expect(await deliver(short)).toMatchObject({ outcome: 'delayed', cause: 'stored message damaged', capped: true });
    expect(site.sandbox.arrived()).toHaveLength(before);
  });
});

describe('recipients', () => {
  it('that are refused stand apart, by what was said of them', async () => {
    site.sandbox.smtp.fault({ at: 'rcpt', about: BOB, reply: '450 4.2.0 greylisted' });
    site.sandbox.smtp.fault({ at: 'rcpt', about: CID, reply: '550 5.1.10 RESOLVER.ADR.RecipientNotFound' });
    const status = await deliver(outgoing(mail(), [ANN, BOB, CID]));
    expect(status).toMatchObject({
      outcome: 'relayed',
      apart: [
        { recipients: [BOB], status: { outcome: 'delayed', code: '4.2.0', reach: 'message' } },
        { recipients: [CID], status: { outcome: 'failed', code: '5.1.10' } },
      ],
    });
    expect(lastEnvelope()?.recipients).toEqual([`TO:<${ANN}>`]);
  });

  it('that are refused with the same code for other reasons are not taken together', async () => {
    site.sandbox.smtp.fault({ at: 'rcpt', about: 'bob@', reply: '550 5.7.1 no such service here' });
    site.sandbox.smtp.fault({ at: 'rcpt', about: 'cid@', reply: '550 5.7.1 Unable to relay' });
    expect(await deliver(outgoing(mail(), [ANN, BOB, CID]))).toMatchObject({
      outcome: 'relayed',
      apart: [
        { recipients: [BOB], status: { outcome: 'failed' } },
        { recipients: [CID], status: { outcome: 'delayed', code: '4.3.5', capped: true } },
      ],
    });
  });

  it('that are all refused leave nothing to send', async () => {
    const before = site.sandbox.arrived().length;
    site.sandbox.smtp.fault({ at: 'rcpt', about: ANN, reply: '550 5.1.1 unknown' });
    site.sandbox.smtp.fault({ at: 'rcpt', about: BOB, reply: '451 4.3.0 later' });
    expect(await deliver(outgoing(mail(), [ANN, BOB]))).toMatchObject({
      outcome: 'delayed',
      cause: 'SMTP 451 4.3.0',
      apart: [{ recipients: [ANN], status: { outcome: 'failed', code: '5.1.1' } }],
    });
    site.sandbox.smtp.fault({ at: 'rcpt', reply: '550 5.1.1 unknown', times: 2 });
    const status = await deliver(outgoing(mail(), [ANN, BOB]));
    expect(status).toMatchObject({ outcome: 'failed', code: '5.1.1' });
    expect(status.apart).toBeUndefined();
    expect(site.sandbox.arrived()).toHaveLength(before);
  });

  it('that are accepted share what is said to the message, whatever was said of others', async () => {
    site.sandbox.smtp.fault({ at: 'rcpt', about: BOB, reply: '550 5.1.1 unknown' });
    site.sandbox.smtp.fault({ at: 'message', reply: '554 5.7.1 content rejected' });
    expect(await deliver(outgoing(mail(), [ANN, BOB]))).toMatchObject({
      outcome: 'failed',
      code: '5.7.1',
      apart: [{ recipients: [BOB], status: { code: '5.1.1' } }],
    });
  });
});

describe('a server in trouble', () => {
  const DISABLED =
    '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.';
  const cases: readonly [string, SmtpFault, Partial<DeliveryStatus> & { reach?: string; throttled?: boolean }][] = [
    [
      'refuses the connection for now',
      { at: 'connect', reply: '421 4.3.2 not now' },
      { outcome: 'delayed', code: '4.4.1', reach: 'transport' },
    ],
    [
      'refuses the connection',
      { at: 'connect', reply: '554 5.7.1 blocked' },
      { outcome: 'delayed', code: '4.3.5', reach: 'transport' },
    ],
    [
      'cuts the connection at once',
      { at: 'connect', cut: true },
      { outcome: 'delayed', code: '4.4.2', reach: 'transport' },
    ],
    [
      'says nothing at all',
      { at: 'connect', silent: true },
      { outcome: 'delayed', cause: 'ETIMEDOUT', reach: 'transport' },
    ],
    [
      'says nothing to EHLO',
      { at: 'ehlo', silent: true },
      { outcome: 'delayed', cause: 'ETIMEDOUT', reach: 'transport' },
    ],
    [
      'cannot begin TLS now',
      { at: 'starttls', reply: '454 4.7.0 TLS not available' },
      { outcome: 'delayed', code: '4.4.1', reach: 'transport' },
    ],
    [
      'does not offer STARTTLS',
      { at: 'starttls', reply: '502 5.5.1 what' },
      { outcome: 'delayed', code: '4.3.5', reach: 'transport' },
    ],
    ['offers no XOAUTH2', { at: 'ehlo', hides: ['AUTH'] }, { outcome: 'delayed', code: '4.3.5', cause: 'NO_XOAUTH2' }],
    [
      'has SMTP AUTH switched off',
      { at: 'auth', reply: DISABLED },
      { outcome: 'delayed', code: '4.3.5', reach: 'mailbox', cause: 'SMTP 535 5.7.139' },
    ],
    [
      'cannot check a login now',
      { at: 'auth', reply: '454 4.7.0 Temporary authentication failure' },
      { outcome: 'delayed', code: '4.7.0', reach: 'transport' },
    ],
    ['cuts during the login', { at: 'auth', cut: true }, { outcome: 'delayed', code: '4.4.2', reach: 'transport' }],
    [
      'has too many connections',
      { at: 'mail', reply: '432 4.3.2 Concurrent connections limit exceeded' },
      { outcome: 'delayed', code: '4.3.2', reach: 'mailbox', throttled: true },
    ],
    [
      'does not take the sender',
      { at: 'mail', reply: '501 5.1.7 Invalid address' },
      { outcome: 'failed', code: '5.1.7' },
    ],
    ['cuts at MAIL', { at: 'mail', cut: true }, { outcome: 'delayed', code: '4.4.2', reach: 'transport' }],
    [
      'says nothing to RCPT',
      { at: 'rcpt', silent: true },
      { outcome: 'delayed', cause: 'ETIMEDOUT', reach: 'transport' },
    ],
    [
      'does not take DATA now',
      { at: 'data', reply: '451 4.3.0 no space' },
      { outcome: 'delayed', code: '4.3.0', reach: 'message' },
    ],
    ['cuts in the middle of a message', { at: 'body' }, { outcome: 'delayed', code: '4.4.2', reach: 'message' }],
    ['refuses the message', { at: 'message', reply: '550 5.7.1 spam' }, { outcome: 'failed', code: '5.7.1' }],
    [
      'puts the message off',
      { at: 'message', reply: '451 4.7.0 Temporary server error. PRX4' },
      { outcome: 'delayed', code: '4.7.0', reach: 'mailbox' },
    ],
    [
      'ends in answer to the message',
      { at: 'message', reply: '421 4.3.2 bye' },
      { outcome: 'delayed', code: '4.3.2', reach: 'transport' },
    ],
  ];

  it.each(cases)('%s', async (_, fault, expected) => {
    const before = site.sandbox.arrived().length;
    site.sandbox.smtp.fault(fault);
    const timeouts = { connect: 2_000, reply: 300, answer: 300 };
    const body = 'x'.repeat(70).concat('\r\n').repeat(20_000);
    expect(await deliver(outgoing(mail('', body), [ANN]), { timeouts })).toMatchObject(expected);
    expect(site.sandbox.arrived()).toHaveLength(before);
  });

  it.each([
    ['cuts', { cut: true }, 'ECONNRESET'],
    ['is silent', { silent: true }, 'ETIMEDOUT'],
  ] as const)('that %s after the final dot leaves a doubt that nothing can clear up', async (_, how, cause) => {
    for (const acts of [true, false]) {
      site.sandbox.smtp.fault({ at: 'message', acts, ...how });
      const transport = site.transport({ timeouts: { connect: 2_000, reply: 2_000, answer: 300 } });
      const one = outgoing(mail(), [ANN]);
      expect(await transport.deliver(one, signal)).toMatchObject({ outcome: 'unknown', cause });
      expect(await transport.verify(one, signal)).toMatchObject({ outcome: 'unknowable' });
    }
  });

  it('is left when the attempt is given up: at once, and in doubt only after the final dot', async () => {
    site.sandbox.smtp.fault({ at: 'rcpt', silent: true });
    expect(await site.transport().deliver(outgoing(mail(), [ANN]), AbortSignal.timeout(300))).toMatchObject({
      outcome: 'delayed',
      cause: 'ABORTED',
      reach: 'message',
    });
    site.sandbox.smtp.fault({ at: 'message', silent: true });
    expect(await site.transport().deliver(outgoing(mail(), [ANN]), AbortSignal.timeout(300))).toMatchObject({
      outcome: 'unknown',
      cause: 'ABORTED',
    });
    expect(await site.transport().deliver(outgoing(mail(), [ANN]), AbortSignal.abort())).toMatchObject({
      cause: 'ABORTED',
    });
  });

  it('that is not there, or does not speak SMTP', async () => {
    const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    expect(await deliver(outgoing(mail(), [ANN]), { port })).toMatchObject({ outcome: 'delayed', reach: 'transport' });
    await new Promise((resolve) => server.close(resolve));
    expect(await deliver(outgoing(mail(), [ANN]), { port })).toMatchObject({
      outcome: 'delayed',
      code: '4.4.1',
      cause: 'ECONNREFUSED',
      reach: 'transport',
    });
  });

  it('gets no message over the size that it announces', async () => {
    const one = outgoing(mail(), [ANN]);
    const status = await deliver({ ...one, item: { ...one.item, size: 40 * 1024 * 1024 } });
    expect(status).toMatchObject({ outcome: 'failed', code: '5.3.4', cause: 'TOO_LARGE' });
  });
});

describe('the way', () => {
  it('is not trusted without its authority, and no octet of the login is said', async () => {
    const login = { kind: 'password', user: SENDER, password: 'sandbox' } as const;
    const { ca: _ca, ...options } = { ca: '', login };
    const transport = (await import('../../src/smtp/submit.ts')).smtpTransport({
      host: '127.0.0.1',
      port: site.sandbox.smtp.port,
      tls: 'required',
      minTls: '1.2',
      name: 'gateway.test',
      timeouts: { connect: 2_000, reply: 2_000, answer: 2_000 },
      ...options,
    });
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({
      outcome: 'delayed',
      code: '4.3.5',
      reach: 'transport',
      cause: expect.stringMatching(/CERT|UNABLE/),
      reason: expect.stringMatching(
        /the certificate offered is for "localhost", issued by "smtp2exchange sandbox CA \w+", valid to .*exchange.caFile/,
      ),
    });
  });

  it('is encrypted or not taken: a server that hides STARTTLS gets nothing', async () => {
    site.sandbox.smtp.fault({ at: 'ehlo', hides: ['STARTTLS'] });
    site.sandbox.smtp.fault({ at: 'starttls', reply: '500 5.3.3 Unrecognized command' });
    expect(await deliver(outgoing(mail(), [ANN]))).toMatchObject({ code: '4.3.5', reach: 'transport' });
  });

  it('is encrypted from the first octet with tls: implicit', async () => {
    const { ca, cert, key } = await createCertificate();
    site.sandbox.smtp.fault({ at: 'mail', openRelay: true });
    const inner = { host: '127.0.0.1', port: site.sandbox.smtp.port };
    const server = createTlsServer({ cert, key }, (outer) => {
      const way = connect(inner);
      outer.on('error', () => way.destroy()).pipe(way);
      way.on('error', () => outer.destroy()).pipe(outer);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const options = { port, tls: 'implicit', login: { kind: 'none' } } as const;
    const transport = site.transport({ ...options, ca });
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'relayed' });
    expect(await deliver(outgoing(mail(), [ANN]), options)).toMatchObject({
      code: '4.3.5',
      reach: 'transport',
      reason: expect.stringMatching(/the certificate offered is for "localhost", issued by .*exchange.caFile/),
    });
    expect(await deliver(outgoing(mail(), [ANN]), { ...options, ca, minTls: '1.3' })).toMatchObject({
      outcome: 'relayed',
    });
    await transport.close();
    server.close();
  });

  it('needs no login where none is wanted, in clear where that is asked for', async () => {
    const options = { tls: 'none', login: { kind: 'none' } } as const;
    expect(await deliver(outgoing(mail(), [ANN]), options)).toMatchObject({
      code: '4.3.5',
      reach: 'transport',
      cause: 'SMTP 530 5.7.57',
    });
    site.sandbox.smtp.fault({ at: 'mail', openRelay: true });
    expect(await deliver(outgoing(mail(), [ANN]), options)).toMatchObject({ outcome: 'relayed' });
  });

  it('takes a password, and says whose fault a wrong one is', async () => {
    const login = { kind: 'password', user: SENDER, password: 'sandbox' } as const;
    expect(await deliver(outgoing(mail(), [ANN]), { login })).toMatchObject({ outcome: 'relayed' });
    const wrong = await deliver(outgoing(mail(), [ANN]), { login: { ...login, password: 'very-secret' } });
    expect(wrong).toMatchObject({ code: '4.3.5', reach: 'transport', cause: 'SMTP 535 5.7.3' });
    expect(JSON.stringify(wrong)).not.toContain('very-secret');
  });

  it.each(['AUTH PLAIN', 'AUTH LOGIN', 'AUTH CRAM-MD5', 'AUTH XOAUTH2'])(
    'does not pass on what a server repeats of a login (%s)',
    async (offer) => {
      const heard: string[] = [];
      const server = createServer((socket) => {
        socket.on('error', () => {}).write('220 echo\r\n');
        socket.on('data', (data) => {
          const line = data.toString().trimEnd();
          const isLast = !/^(?:EHLO|AUTH (?:LOGIN|CRAM-MD5)$)/.test(line) && line !== USER;
          if (line.startsWith('EHLO')) socket.write(`250-echo\r\n250 ${offer}\r\n`);
          else if (isLast) heard.push(line);
          if (isLast) socket.write(`500 5.5.1 Command unrecognized: "${line}"\r\n`);
          else if (!line.startsWith('EHLO')) socket.write('334 UGFzc3dvcmQ6\r\n');
        });
      }).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      const { port } = server.address() as AddressInfo;
      const token = { get: async () => ({ ok: true, token: 'very.secret.token' }) as const, refuse: () => {} };
      const login = offer.endsWith('2')
        ? ({ kind: 'oauth', token } as const)
        : ({ kind: 'password', user: SENDER, password: 'very-secret' } as const);
      const status = await deliver(outgoing(mail(), [ANN]), { port, tls: 'none', login });
      expect(status.reason).toMatch(/Command unrecognized: "/);
      expect(heard).toHaveLength(1);
      expect(status.reason).not.toContain(heard[0]?.split(' ').at(-1));
      server.close();
    },
  );
});

describe('sessions', () => {
  it('are used again, and made anew when they have died meanwhile', async () => {
    const transport = site.transport({ login: { kind: 'password', user: SENDER, password: 'sandbox' } });
    const before = site.sandbox.smtp.connections;
    for (let n = 0; n < 3; n++)
      expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'relayed' });
    expect(site.sandbox.smtp.connections).toBe(before + 1);
    site.sandbox.smtp.fault({ at: 'rset', cut: true });
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'relayed' });
    expect(site.sandbox.smtp.connections).toBe(before + 2);
    site.sandbox.smtp.fault({ at: 'message', reply: '451 4.3.0 later' });
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'delayed' });
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'relayed' });
    expect(site.sandbox.smtp.connections).toBe(before + 2);
  });

  it('are found dead in the time of one answer, although nobody closed them', async () => {
    const timeouts = { connect: 2_000, reply: 300, answer: 2_000 };
    const transport = site.transport({ timeouts });
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'relayed' });
    site.sandbox.smtp.fault({ at: 'rset', silent: true });
    const before = performance.now();
    expect(await transport.deliver(outgoing(mail(), [ANN]), signal)).toMatchObject({ outcome: 'relayed' });
    expect(performance.now() - before).toBeGreaterThan(250);
  });

  it('are not shared between mailboxes', async () => {
    const transport = site.transport();
    const users = [];
    for (const mailbox of [SENDER, ANN, SENDER]) {
      const message = mail().replace(`From: ${SENDER}`, `From: ${mailbox}`);
      await transport.deliver(outgoing(message, [BOB], { mailbox }), signal);
      users.push(lastEnvelope()?.user);
    }
    expect(users).toEqual([SENDER, ANN, SENDER]);
  });

  it('of one mailbox for all need its rights on the others', async () => {
    const transport = site.transport({ login: { kind: 'oauth', token: site.token, user: ANN } });
    expect(await transport.deliver(outgoing(mail(), [BOB]), signal)).toMatchObject({
      outcome: 'failed',
      code: '5.7.60',
      cause: 'SMTP 554 5.2.252',
    });
  });
});

describe('a token', () => {
  it('is tried with a fresh token once, and holds only the mailbox that is refused', async () => {
    await deliver(outgoing(mail(), [ANN]));
    site.sandbox.identity.revokeAll();
    const asked = site.sandbox.identity.requests.token;
    expect(await deliver(outgoing(mail(), [ANN]))).toMatchObject({ outcome: 'relayed' });
    expect(site.sandbox.identity.requests.token).toBe(asked + 1);
    const refused = await deliver(outgoing(mail(), [ANN], { mailbox: 'nobody@contoso.test' }));
    expect(refused).toMatchObject({ code: '4.3.5', reach: 'mailbox', cause: 'SMTP 535 5.7.3' });
    expect(refused.reason).toContain('SMTP.SendAsApp');
    expect(site.sandbox.identity.requests.token).toBe(asked + 1);
    site.sandbox.identity.revokeAll();
    const revoked = await deliver(outgoing(mail(), [ANN]));
    // What the server explains in base64 is told in words.
    expect(revoked.reason).toContain('status: 401, schemes: bearer, scope: revoked');
    expect(JSON.stringify(revoked)).not.toMatch(/eyJ/);
  });
});
