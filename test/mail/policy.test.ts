/** Who may connect, log in, send as and send to; header fields come as octets, as a client sends them. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSendable } from '../../src/mail/address.ts';
import { parseHeader } from '../../src/mail/addresses.ts';
import type { Mailbox } from '../../src/mail/addresses.ts';
import { splitHeader } from '../../src/mail/header.ts';
import { matcher } from '../../src/mail/pattern.ts';
import { createPolicy } from '../../src/mail/policy.ts';
import type { Client, PolicyRules, Reply } from '../../src/mail/policy.ts';
import { cost, LARGE, LINEAR } from './cost.ts';

fc.configureGlobal({ seed: 571 });

const LAN: PolicyRules['listeners'][number] = { name: 'lan', auth: 'none', allow: ['10.0.0.0/8'], loginFrom: [] };
const OPEN: PolicyRules = {
  listeners: [LAN],
  users: [],
  clients: [],
  senders: { allow: ['*'] },
  recipients: { allow: ['*'], deny: [] },
};
const CLIENT: Client = { listener: 'lan', peer: '10.0.0.7', tls: false };

function policy(rules: Partial<PolicyRules>): ReturnType<typeof createPolicy> {
  return createPolicy({ ...OPEN, ...rules });
}

function sendersOnly(...allow: string[]): ReturnType<typeof createPolicy> {
  return policy({ senders: { allow } });
}

async function judged(rules: ReturnType<typeof createPolicy>, header: string | Buffer): Promise<Reply | undefined> {
  return rules.header(CLIENT, await parseHeader(splitHeader(Buffer.from(header))));
}

describe('connecting and logging in', () => {
  const listener = (more: Partial<typeof LAN>): PolicyRules['listeners'] => [{ ...LAN, ...more }];
  const both = { auth: 'optional', allow: ['10.0.0.0/8'], loginFrom: ['0.0.0.0/0', '::/0'] } as const;

  it.each([
    // address
    { what: 'address: inside', rules: {}, peer: '10.1.1.1', connects: true, needsLogin: false },
    { what: 'address: inside, mapped', rules: {}, peer: '::ffff:10.1.1.1', connects: true, needsLogin: false },
    { what: 'address: outside', rules: {}, peer: '192.0.2.1', connects: false, needsLogin: true },
    { what: 'address: nothing', rules: {}, peer: '', connects: false, needsLogin: true },
    // address and login
    { what: 'both: inside', rules: { auth: 'required' }, peer: '10.1.1.1', connects: true, needsLogin: true },
    { what: 'both: outside', rules: { auth: 'required' }, peer: '192.0.2.1', connects: false, needsLogin: true },
    // login
    {
      what: 'login from anywhere',
      rules: { auth: 'required', allow: ['0.0.0.0/0', '::/0'] },
      peer: '2001:db8::1',
      connects: true,
      needsLogin: true,
    },
    // address or login
    { what: 'either: inside', rules: both, peer: '10.1.1.1', connects: true, needsLogin: false },
    { what: 'either: outside', rules: both, peer: '192.0.2.1', connects: true, needsLogin: true },
    { what: 'either: outside, IPv6', rules: both, peer: '2001:db8::1', connects: true, needsLogin: true },
    { what: 'optional: inside', rules: { auth: 'optional' }, peer: '10.1.1.1', connects: true, needsLogin: false },
  ] as const)('$what', ({ rules, peer, connects, needsLogin }) => {
    const asked = policy({ listeners: listener(rules) });
    const client = { ...CLIENT, peer };
    expect(asked.connect(client) === undefined).toBe(connects);
    expect(asked.needsLogin(client)).toBe(needsLogin);
    expect(asked.needsLogin({ ...client, user: 'pbx' })).toBe(false);
  });

  it('each listener has its own networks', () => {
    const asked = policy({ listeners: [LAN, { ...LAN, name: 'dmz', allow: ['192.0.2.0/24'] }] });
    expect(asked.connect({ ...CLIENT, listener: 'dmz' })).toBeDefined();
    expect(asked.connect({ ...CLIENT, listener: 'dmz', peer: '192.0.2.1' })).toBeUndefined();
  });

  it('the refusal names client and rule', () => {
    expect(policy({}).connect({ ...CLIENT, peer: '192.0.2.1' })).toEqual({
      refusal: 'address',
      code: 554,
      enhanced: '5.7.1',
      text: '192.0.2.1 may not use this server: it is not in "allow" of listener "lan"',
    });
  });

  it('an unknown listener is a bug', () => {
    expect(() => policy({}).connect({ ...CLIENT, listener: 'wan' })).toThrow('no listener "wan"');
    expect(() => policy({}).mail({ ...CLIENT, listener: 'wan' }, 'a@x.test')).toThrow('no listener "wan"');
  });
});

describe('the reverse-path', () => {
  it.each([
    ['noreply@contoso.com', true],
    ['NoReply@CONTOSO.com', true],
    ['"noreply"@contoso.com', true],
    ['', true],
    ['ceo@contoso.com', false],
    ['noreply@evil-contoso.com', false],
    ['noreply@contoso.com.evil', false],
    ['noreply@mail.contoso.com', false],
    ['noreply@contoso.com.', false],
    ['noreply@contoso.com@evil.test', false],
    ['"noreply@contoso.com"@evil.test', false],
    ['noreply', false],
    ['noreply@', false],
    ['<>', false],
    ['*', false],
    ['*@contoso.com', false],
    ['noreply@c\u043entoso.com', false],
    ['n\u043ereply@contoso.com', false],
    ['noreply\u200b@contoso.com', false],
    ['noreply@contoso.com\r\nRCPT TO:<a@x.test>', false],
  ])('%j with only noreply@contoso.com allowed: %s', (reversePath, isAllowed) => {
    expect(sendersOnly('noreply@contoso.com').mail(CLIENT, reversePath) === undefined).toBe(isAllowed);
  });

  it.each(['', 'a@x.test', 'fax', 'a@b@c', '\0'])('%j is allowed where all are', (reversePath) => {
    expect(policy({}).mail(CLIENT, reversePath)).toBeUndefined();
  });

  it('the null one is allowed even where nobody else is', () => {
    expect(sendersOnly().mail(CLIENT, '')).toBeUndefined();
    expect(sendersOnly().mail(CLIENT, 'a@x.test')).toBeDefined();
  });

  it('a refusal names address and rule', () => {
    expect(sendersOnly('noreply@contoso.com').mail(CLIENT, 'ceo@contoso.com')).toEqual({
      refusal: 'sender',
      code: 550,
      enhanced: '5.7.1',
      text: 'Sender ceo@contoso.com is not allowed: it is not in senders.allow',
    });
  });
});

describe('the header, with only noreply@contoso.com allowed', () => {
  const asked = sendersOnly('noreply@contoso.com');

  it.each([
    ['plain', 'From: noreply@contoso.com'],
    ['a name', 'From: "Doe, John" <NoReply@Contoso.Com>'],
    ['an unquoted comma', 'From: Doe, John <noreply@contoso.com>'],
    ['an @ in a name', 'From: "Sales @ Contoso" <noreply@contoso.com>'],
    ['an encoded name', 'From: =?utf-8?B?SsO8cmdlbg==?= <noreply@contoso.com>'],
    ['a quoted local part', 'From: "noreply"@contoso.com'],
    ['a comment', 'From: noreply@contoso.com (Front desk)'],
    ['folded', 'From:\r\n\t<noreply@contoso.com>'],
    ['twice the same', 'From: noreply@contoso.com, <noreply@contoso.com>'],
    ['its own address as name', 'From: "noreply@contoso.com" <noreply@contoso.com>'],
    ['with Sender', 'From: noreply@contoso.com\r\nSender: Fax <noreply@contoso.com>'],
    ['no From', 'Subject: x'],
    ['other fields are free', 'From: noreply@contoso.com\r\nReply-To: ceo@contoso.com\r\nTo: ceo@contoso.com'],
  ])('allowed: %s', async (_, header) => {
    expect(await judged(asked, `${header}\r\n`)).toBeUndefined();
  });

  it.each([
    ['plain', 'From: ceo@contoso.com'],
    ['case', 'FROM: CEO@CONTOSO.COM'],
    ['a space before the colon', 'From : ceo@contoso.com'],
    ['in brackets', 'From: <ceo@contoso.com>'],
    ['folded', 'From:\r\n <ceo@\r\n contoso.com>'],
    ['under the allowed name', 'From: "noreply@contoso.com" <ceo@contoso.com>'],
    ['under the allowed name, unquoted', 'From: noreply@contoso.com <ceo@contoso.com>'],
    ['behind the allowed brackets', 'From: <noreply@contoso.com> <ceo@contoso.com>'],
    ['before the allowed brackets', 'From: <ceo@contoso.com> <noreply@contoso.com>'],
    ['as second', 'From: noreply@contoso.com, ceo@contoso.com'],
    ['as first', 'From: ceo@contoso.com, noreply@contoso.com'],
    ['as second, by semicolon', 'From: noreply@contoso.com; ceo@contoso.com'],
    ['in a group', 'From: noreply: ceo@contoso.com;'],
    ['in a group beside', 'From: noreply@contoso.com, G: ceo@contoso.com;'],
    ['in a second field', 'From: noreply@contoso.com\r\nSubject: x\r\nFrom: ceo@contoso.com'],
    ['in a first field', 'From: ceo@contoso.com\r\nfrom: noreply@contoso.com'],
    ['as Sender', 'From: noreply@contoso.com\r\nSender: ceo@contoso.com'],
    ['as Sender alone', 'Sender: ceo@contoso.com'],
    ['as second Sender', 'From: noreply@contoso.com\r\nSender: noreply@contoso.com\r\nSENDER: ceo@contoso.com'],
    ['behind a comment', 'From: (noreply@contoso.com) ceo@contoso.com'],
    ['before a comment', 'From: ceo@contoso.com (noreply@contoso.com)'],
    ['a comment in it', 'From: ceo(noreply@contoso.com)@contoso.com'],
    ['a comment in the brackets', 'From: x <(noreply@contoso.com)ceo@contoso.com>'],
    ['a comment that is not closed', 'From: noreply@contoso.com (ceo@contoso.com'],
    ['in an encoded word', 'From: =?utf-8?B?Y2VvQGNvbnRvc28uY29t?='],
    ['in an encoded word in brackets', 'From: <=?utf-8?B?Y2VvQGNvbnRvc28uY29t?=>'],
    ['a local part in an encoded word', 'From: =?utf-8?Q?ceo?=@contoso.com'],
    ['behind an encoded word', 'From: =?utf-8?Q?noreply=40contoso.com=3E?= <ceo@contoso.com>'],
    ['as the name, in an encoded word', 'From: =?utf-8?B?Y2VvQGNvbnRvc28uY29t?= <noreply@contoso.com>'],
    ['as the name', 'From: "ceo@contoso.com" <noreply@contoso.com>'],
    ['as the name, unquoted', 'From: ceo@contoso.com <noreply@contoso.com>'],
    ['as the name, in brackets and quotes', 'From: "\'<ceo@contoso.com>\'" <noreply@contoso.com>'],
    ['as a comment', 'From: noreply@contoso.com (ceo@contoso.com)'],
    ['as the name of Sender', 'From: noreply@contoso.com\r\nSender: "ceo@contoso.com" <noreply@contoso.com>'],
    ['an escaped quote', 'From: "a\\"<noreply@contoso.com>" <ceo@contoso.com>'],
    ['a quote that is not closed', 'From: "noreply@contoso.com, ceo@contoso.com'],
    ['behind brackets', 'From: <noreply@contoso.com>ceo@contoso.com'],
    ['a source route', 'From: <@noreply.test:ceo@contoso.com>'],
    ['NUL', 'From: noreply@contoso.com\0ceo@contoso.com'],
    ['two @', 'From: noreply@contoso.com@evil.test'],
    ['the allowed one quoted', 'From: "noreply@contoso.com"@evil.test'],
    ['a subdomain', 'From: noreply@a.contoso.com'],
    ['a longer domain', 'From: noreply@evil-contoso.com'],
    ['a domain that goes on', 'From: noreply@contoso.com.evil'],
    ['a final dot', 'From: noreply@contoso.com.'],
    ['a Cyrillic domain', 'From: noreply@c\u043entoso.com'],
    ['the same in ASCII', 'From: noreply@xn--cntoso-xye.com'],
    ['a Cyrillic local part', 'From: n\u043ereply@contoso.com'],
    ['a soft hyphen', 'From: no\u00adreply@contoso.com'],
    ['no domain', 'From: Noreply <noreply>'],
    ['a word', 'From: noreply'],
    ['an asterisk', 'From: *@contoso.com'],
    ['empty brackets', 'From: <>'],
  ])('refused: %s', async (_, header) => {
    const reply = await judged(asked, `${header}\r\n`);
    expect(reply).toMatchObject({ refusal: 'sender', code: 550, enhanced: '5.7.1' });
    expect(reply?.text).toContain('senders.allow');
  });

  it('as Latin-1 octets', async () => {
    expect(await judged(asked, Buffer.from('From: J\xfcrgen <noreply@contoso.com>\r\n', 'latin1'))).toBeUndefined();
    expect(await judged(asked, Buffer.from('From: nor\xe9ply@contoso.com\r\n', 'latin1'))).toBeDefined();
  });

  it.each([
    ['From: ceo@contoso.com', 'From ceo@contoso.com of the header is not allowed: it is not in senders.allow'],
    ['Sender: ceo@contoso.com', 'Sender ceo@contoso.com of the header is not allowed: it is not in senders.allow'],
    [
      'Resent-From: ceo@contoso.com',
      'Resent-From or -Sender ceo@contoso.com of the header is not allowed: it is not in senders.allow',
    ],
    [
      'Resent-Sender: noreply@contoso.com\r\nResent-Sender: ceo@contoso.com',
      'Resent-From or -Sender ceo@contoso.com of the header is not allowed: it is not in senders.allow',
    ],
    ['From: fax', 'A From of the header that is no address is not allowed: it is not in senders.allow'],
    [
      'From: "ceo@contoso.com" <noreply@contoso.com>',
      'From noreply@contoso.com of the header under the name ceo@contoso.com is not allowed: that address is not in senders.allow',
    ],
  ])('%s: the refusal says what and why', async (header, text) => {
    expect((await judged(asked, `${header}\r\n`))?.text).toBe(text);
  });

  it('what cannot be read stands in the log', async () => {
    expect((await judged(asked, 'From: Fax Master\r\n'))?.detail).toBe('Fax Master');
  });
});

describe('unusual senders', () => {
  it.each([
    ['+39*@fax.test', '+390551234@fax.test', true],
    ['+39*@fax.test', '+380551234@fax.test', false],
    ['FAX=*@gw.test', 'FAX=+390551234@gw.test', true],
    ['#31#*@gw.test', '#31#055@gw.test', true],
    ['fax@gw.test', '*@gw.test', false],
    ['f*@gw.test', '*ax@gw.test', false],
    ['*@bücher.test', 'fax@xn--bcher-kva.test', true],
    ['*@xn--bcher-kva.test', 'fax@BÜCHER.test', true],
    ['josé@x.test', 'jose\u0301@x.test', true],
    ['*', 'fax', true],
  ])('%s: %s is allowed: %s', async (pattern, address, isAllowed) => {
    const asked = sendersOnly(pattern);
    expect(asked.mail(CLIENT, address) === undefined).toBe(isAllowed);
    expect((await judged(asked, `From: Fax <${address}>\r\n`)) === undefined).toBe(isAllowed);
  });

  it('what is no address passes where all do', async () => {
    expect(
      await judged(policy({}), 'From: The HylaFAX Receive Agent <fax>, FaxMaster, "x\r\nSender: <>\r\n'),
    ).toBeUndefined();
  });
});

describe('recipients', () => {
  const asked = {
    contoso: policy({
      recipients: { allow: ['*@contoso.com', '*@fax.test'], deny: ['ceo@contoso.com', '*@secret.contoso.com'] },
    }),
    denying: policy({ recipients: { allow: ['*'], deny: ['ceo@contoso.com'] } }),
    open: policy({}),
    nobody: policy({ recipients: { allow: [], deny: [] } }),
    shut: policy({ recipients: { allow: ['*'], deny: ['*'] } }),
  };

  it.each([
    ['contoso', 'a@contoso.com', undefined],
    ['contoso', '+390551234@fax.test', undefined],
    ['contoso', 'FAX=5551234@fax.test', undefined],
    ['contoso', '*#06#@fax.test', undefined],
    ['contoso', 'a@gmail.test', 'it is not in recipients.allow'],
    ['contoso', 'a@evil-contoso.com', 'it is not in recipients.allow'],
    ['contoso', 'ceo@contoso.com', 'it is in recipients.deny'],
    ['contoso', 'CEO@Contoso.COM', 'it is in recipients.deny'],
    ['contoso', '"ceo"@contoso.com', 'it is in recipients.deny'],
    ['contoso', '"c\\eo"@contoso.com', 'it is in recipients.deny'],
    ['contoso', 'ceo@\uff43ontoso.com', 'it is in recipients.deny'],
    ['contoso', 'a@secret.contoso.com', 'it is in recipients.deny'],
    ['denying', 'a@contoso.com', undefined],
    ['denying', 'ceo@contoso.com.', 'it is in recipients.deny'],
    ['denying', 'ceo@contoso.com..', 'it cannot be compared with recipients.deny'],
    ['denying', 'ceo@con\u00adtoso.com', 'it cannot be compared with recipients.deny'],
    ['denying', 'x@ceo@contoso.com', 'it cannot be compared with recipients.deny'],
    ['denying', 'fax', 'it cannot be compared with recipients.deny'],
    ['denying', '', 'it cannot be compared with recipients.deny'],
    ['open', 'fax', undefined],
    ['nobody', 'a@x.test', 'it is not in recipients.allow'],
    ['shut', 'a@x.test', 'it is in recipients.deny'],
  ] as const)('%s %j: %s', (which, address, why) => {
    const text = `Recipient ${address === '' ? '<>' : address.replace(/[^ -~]/g, '?')} is not allowed: ${why}`;
    const reply = { refusal: 'recipient', code: 550, enhanced: '5.7.1', text };
    expect(asked[which].recipient(CLIENT, address)).toEqual(why === undefined ? undefined : reply);
  });
});

describe('which lists apply', () => {
  // Each rule allows another part of the alphabet; the answer tells which were asked.
  const asked = policy({
    listeners: [
      { ...LAN, auth: 'optional', senders: ['a*@x.test', 'b*@x.test'], recipients: ['a*@x.test', 'b*@x.test'] },
      { ...LAN, name: 'free' },
      { ...LAN, name: 'shut', senders: [], recipients: [] },
    ],
    users: [
      { name: 'limited', senders: ['*1@x.test'], recipients: ['*1@x.test'] },
      { name: 'unlimited' },
      { name: 'nobody', senders: [], recipients: [] },
    ],
    clients: [
      { networks: ['10.0.0.0/24'], senders: ['*2@x.test'], recipients: ['*2@x.test'] },
      { networks: ['10.0.1.0/24', '10.0.0.0/16'] },
      { networks: ['10.0.1.0/24', '10.9.0.0/16'], senders: ['*3@x.test'], recipients: ['*3@x.test'] },
    ],
    senders: { allow: ['*@x.test'] },
    recipients: { allow: ['*@x.test'], deny: [] },
  });
  const lan = 'of listener "lan"';

  it.each([
    ['everywhere', 'free', '10.8.0.1', undefined, 'z@x.test', undefined],
    ['the whole gateway', 'free', '10.8.0.1', undefined, 'z@y.test', '.allow'],
    ['the listener', 'lan', '10.8.0.1', undefined, 'a@x.test', undefined],
    ['the listener', 'lan', '10.8.0.1', undefined, 'z@x.test', lan],
    ['the listener, nothing allowed', 'shut', '10.8.0.1', undefined, 'a@x.test', 'of listener "shut"'],
    ['the network', 'free', '10.0.0.1', undefined, 'a2@x.test', undefined],
    ['the network', 'free', '10.0.0.1', undefined, 'a1@x.test', 'of clients[0] (10.0.0.0/24)'],
    ['the first network that holds it, without lists', 'free', '10.0.1.1', undefined, 'z@x.test', undefined],
    ['a network behind others', 'free', '10.9.0.1', undefined, 'z@x.test', 'of clients[2] (10.0.1.0/24, 10.9.0.0/16)'],
    ['a mapped address', 'free', '::ffff:10.0.0.1', undefined, 'a1@x.test', 'of clients[0] (10.0.0.0/24)'],
    ['the user', 'free', '10.8.0.1', 'limited', 'a1@x.test', undefined],
    ['the user', 'free', '10.8.0.1', 'limited', 'a2@x.test', 'of user "limited"'],
    ['the user before the network', 'free', '10.0.0.1', 'limited', 'a1@x.test', undefined],
    ['the user before the network', 'free', '10.0.0.1', 'limited', 'a2@x.test', 'of user "limited"'],
    ['the network where the user has no list', 'free', '10.0.0.1', 'unlimited', 'a2@x.test', undefined],
    [
      'the network where the user has no list',
      'free',
      '10.0.0.1',
      'unlimited',
      'a1@x.test',
      'of clients[0] (10.0.0.0/24)',
    ],
    ['an unknown user is none', 'free', '10.0.0.1', 'x', 'a1@x.test', 'of clients[0] (10.0.0.0/24)'],
    ['user names have case', 'free', '10.8.0.1', 'LIMITED', 'a2@x.test', undefined],
    ['a user who may nothing', 'free', '10.8.0.1', 'nobody', 'a@x.test', 'of user "nobody"'],
    ['user and listener', 'lan', '10.0.0.1', 'limited', 'a1@x.test', undefined],
    ['user and listener: user', 'lan', '10.0.0.1', 'limited', 'a2@x.test', 'of user "limited"'],
    ['user and listener: listener', 'lan', '10.0.0.1', 'limited', 'z1@x.test', lan],
    ['network and listener', 'lan', '10.0.0.1', undefined, 'b2@x.test', undefined],
    ['network and listener: listener', 'lan', '10.0.0.1', undefined, 'z2@x.test', lan],
    ['network and listener: network', 'lan', '10.0.0.1', undefined, 'b@x.test', 'of clients[0] (10.0.0.0/24)'],
  ])('%s: %s %s %s %s: %s', (_, listener, peer, user, address, whose) => {
    const client = { listener, peer, tls: true, ...(user !== undefined && { user }) };
    const mailbox: Mailbox = { name: '', address };
    const replies = [
      asked.mail(client, address),
      asked.header(client, { from: [mailbox], sender: [] }),
      asked.header(client, { from: [], sender: [mailbox] }),
      asked.header(client, { from: [], sender: [], resent: [mailbox] }),
      asked.recipient(client, address),
    ];
    const kinds = ['senders', 'senders', 'senders', 'senders', 'recipients'];
    expect(replies.map((reply) => reply?.text.replace(/^.* is not allowed: it is not in /, ''))).toEqual(
      kinds.map((kind) =>
        whose === undefined ? undefined : whose === '.allow' ? `${kind}.allow` : `${kind} ${whose}`,
      ),
    );
  });

  it('an unreadable address needs * in all of them', () => {
    const some = policy({ listeners: [{ ...LAN, senders: ['*@*'] }] });
    expect(some.mail(CLIENT, 'fax')?.text).toContain('senders of listener "lan"');
    expect(policy({ listeners: [{ ...LAN, senders: ['*@*', '*'] }] }).mail(CLIENT, 'fax')).toBeUndefined();
  });
});

// --- any input ------------------------------------------------------------------------------------------------------

const PATTERNS = ['*', '*@x.test', 'a@x.test', '@y.test', 'a*@*.test', '*@ü.test', 'ceo@*', '"a@b"@x.test'];
const list = fc.subarray(PATTERNS);
const rules: fc.Arbitrary<PolicyRules> = fc.record({
  listeners: fc
    .record({ senders: list, recipients: list }, { requiredKeys: [] })
    .map((lists) => [{ ...LAN, ...lists }]),
  users: fc
    .record({ senders: list, recipients: list }, { requiredKeys: [] })
    .map((lists) => [{ name: 'pbx', ...lists }]),
  clients: fc.array(
    fc.record(
      { networks: fc.subarray(['10.0.0.0/8', '10.0.0.0/24', '::1']), senders: list, recipients: list },
      { requiredKeys: ['networks'] },
    ),
    { maxLength: 3 },
  ),
  senders: fc.record({ allow: list }),
  recipients: fc.record({ allow: list, deny: list }),
});
const client = fc
  .record({ peer: fc.constantFrom('10.0.0.7', '10.1.0.7', '::1'), user: fc.constantFrom('pbx', 'x', undefined) })
  .map(({ peer, user }): Client => ({ listener: 'lan', peer, tls: false, ...(user !== undefined && { user }) }));
const piece = fc.oneof(
  { arbitrary: fc.constantFrom('a', 'ceo', '@', 'x.test', 'y.test', 'ü.test', 'xn--tda.test', '@x.test'), weight: 5 },
  { arbitrary: fc.constantFrom(...'"\\<>(),:;. *\0\r\n'.split(''), '=?utf-8?Q?a=40?=', '\u212a', '\ud800'), weight: 1 },
);
const text = fc.array(piece, { maxLength: 8 }).map((parts) => parts.join(''));

/** The lists that apply, taken from the rules by hand. */
function listsFor(
  { listeners, users, clients, ...all }: PolicyRules,
  { user, peer }: Client,
  kind: 'senders' | 'recipients',
) {
  const first = clients.find(({ networks }) =>
    networks.some((network) =>
      network === '::1' ? peer === '::1' : peer.startsWith(network === '10.0.0.0/24' ? '10.0.0.' : '10.'),
    ),
  );
  const own = users.find(({ name }) => name === user)?.[kind] ?? first?.[kind];
  return [all[kind].allow, listeners[0]?.[kind], own].filter((patterns) => patterns !== undefined);
}

function isIn(patterns: readonly string[], address: string): boolean {
  return patterns.some((pattern) => pattern === '*' || (isSendable(address) && matcher([pattern])(address)));
}

describe('whatever the input', () => {
  it('an address is accepted if a pattern of every list that applies matches it, and no denied one', () => {
    fc.assert(
      fc.property(rules, client, text, (some, who, address) => {
        const asked = createPolicy(some);
        const maySend = listsFor(some, who, 'senders').every((patterns) => isIn(patterns, address));
        expect(asked.mail(who, address) === undefined).toBe(address === '' || maySend);
        const { deny } = some.recipients;
        const isDenied = deny.length > 0 && (!isSendable(address) || isIn(deny, address));
        const mayReceive = listsFor(some, who, 'recipients').every((patterns) => isIn(patterns, address));
        expect(asked.recipient(who, address) === undefined).toBe(mayReceive && !isDenied);
      }),
      { numRuns: 5000 },
    );
  });

  it('a header is accepted only if every From and Sender in it is', async () => {
    await fc.assert(
      fc.asyncProperty(
        rules,
        client,
        fc.array(fc.tuple(fc.constantFrom('From', 'Sender', 'Resent-From', 'Resent-Sender', 'X'), text)),
        async (some, who, lines) => {
          const block = lines.map(([name, value]) => `${name}: ${value.replace(/[\r\n]+/g, '\r\n ')}\r\n`).join('');
          const { from, sender, resent } = await parseHeader(splitHeader(Buffer.from(block)));
          const reply = createPolicy(some).header(who, { from, sender, resent });
          const lists = listsFor(some, who, 'senders');
          const accepts = [...from, ...sender, ...resent].every(({ address }) =>
            lists.every((patterns) => isIn(patterns, address)),
          );
          expect(reply === undefined && !accepts).toBe(false);
          const isNamed = [...from, ...sender, ...resent].some(({ name }) => name.includes('@'));
          expect(reply !== undefined && accepts && !isNamed).toBe(false);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('a refusal is one line of printable ASCII within the limit of a reply, and names a rule', () => {
    const names = fc.string({ unit: 'binary', maxLength: 1000 });
    fc.assert(
      fc.property(names, names, (name, address) => {
        const asked = createPolicy({ ...OPEN, listeners: [{ ...LAN, name, senders: [], recipients: [], allow: [] }] });
        const who = { ...CLIENT, listener: name };
        const mailbox = { name: address, address };
        const replies = [
          asked.connect(who),
          asked.mail(who, `a${address}`),
          asked.recipient(who, address),
          asked.header(who, { from: [mailbox], sender: [] }),
        ];
        for (const reply of replies) expect(reply?.text).toMatch(/^[ -~]{1,400}$/);
        for (const reply of replies)
          expect(reply?.text).toMatch(/"allow" of listener|(senders|recipients) of listener/);
      }),
      { numRuns: 500 },
    );
  });

  it('a header full of senders costs linear time, however many rules there are', async () => {
    const networks = Array.from({ length: 200 }, (_, n) => `192.0.2.${n}`);
    const asked = createPolicy({
      ...OPEN,
      clients: networks.map((network) => ({ networks: [network], senders: [] })),
      senders: { allow: ['*a@x.test', 'b@y.test'] },
    });
    const quotes = `${'"'.repeat(199)}x`.repeat(2);
    const from = Array.from({ length: LARGE / 2 }, (_, n) => ({ name: n % 100 ? '' : quotes, address: 'a@x.test' }));
    expect(await cost(() => asked.header(CLIENT, { from, sender: [] }))).toBeLessThan(LINEAR);
  });
});
