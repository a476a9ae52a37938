/**
 * The policy and the sender mapping against what patterns mean, written a second time and simply. What is allowed matches a
 * pattern of every list that applies; nothing throws, and every refusal is a line of SMTP.
 */
import * as fc from 'fast-check';
import { canonicalAddress, isSendable } from '../../src/mail/address.ts';
import { mailboxesOf } from '../../src/mail/addresses.ts';
import type { Mailbox } from '../../src/mail/addresses.ts';
import { splitHeader } from '../../src/mail/header.ts';
import { isPattern, matcher } from '../../src/mail/pattern.ts';
import { createPolicy } from '../../src/mail/policy.ts';
import type { Reply } from '../../src/mail/policy.ts';
import { senderMap } from '../../src/mail/senders.ts';
import { mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const pattern = fc.constantFrom(
  ...['*', 'noreply@contoso.com', '@contoso.com', '*@contoso.com', 'scan-*@*.contoso.com', '*@xn--bcher-kva.test'],
  ...['No*Reply@CONTOSO.com', '*@*.contoso.com', '"a.b"@x.test', '*@[127.0.0.1]', 'i@bücher.test', '*-*-*@contoso.com'],
);
const claimed = fc.oneof(
  fc.constantFrom(
    ...['noreply@contoso.com', 'ceo@contoso.com', 'NOREPLY@Contoso.COM', 'scan-1@eu.contoso.com', 'x@evil-contoso.com'],
    ...[
      'x@contoso.com.evil',
      '"noreply"@contoso.com',
      'noreply@contoso.com.',
      '*@contoso.com',
      'n\u043ereply@contoso.com',
    ],
    ...[
      'x@bücher.test',
      '"a b"@x.test',
      '',
      'fax',
      'a@b@contoso.com',
      'x@CONTO\u017fO.com',
      'x@\uff43ontoso.com',
      'x@contoso\u3002com',
    ],
    ...[
      'x@contoso.com\0',
      'x@[127.0.0.1]',
      'x@[IPv6:::1]',
      '"x@evil.test"@contoso.com',
      'x@contoso.com ',
      'a-b-c@contoso.com',
    ],
  ),
  fc.string({
    unit: fc.constantFrom(
      'a',
      '@',
      '.',
      '*',
      '-',
      '"',
      '\\',
      '<',
      '>',
      ' ',
      'contoso.com',
      'eu.',
      'noreply',
      'ü',
      '\u0130',
      '\u212a',
      '\0',
      '(',
    ),
    maxLength: 8,
  }),
);
const shown = fc.oneof(
  claimed,
  claimed.map((one) => `X <${one}>`),
  fc.tuple(claimed, claimed).map(([a, b]) => `${a} <${b}>`),
  fc.tuple(claimed, claimed).map(([a, b]) => `"${a}" <${b}>`),
  fc.tuple(claimed, claimed).map(([a, b]) => `${a}, (${b}) ${b}`),
  claimed.map((one) => `=?utf-8?B?${Buffer.from(one).toString('base64')}?= <noreply@contoso.com>`),
);

function parts(text: string): [string, string] {
  const at = text.lastIndexOf('@');
  return [text.slice(0, at), text.slice(at + 1)];
}

function means(one: string, address: string): boolean {
  if (one === '*') return true;
  const glob = (text: string): RegExp =>
    new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^]*')}$`, 'u');
  const [local, domain] = parts(canonicalAddress(address));
  const [wantedLocal, wantedDomain] = parts(canonicalAddress(one));
  const bare = (text: string): string => (/^"[^]*"$/.test(text) ? text.slice(1, -1).replace(/\\(.)/gsu, '$1') : text);
  return (
    glob(bare(wantedLocal) || '*').test(bare(local)) &&
    glob(wantedDomain.replace(/\.$/, '')).test(domain.replace(/\.$/, ''))
  );
}

function isFine(lists: readonly (readonly string[] | undefined)[], address: string): boolean {
  return lists.every(
    (list) =>
      list === undefined || list.includes('*') || (isSendable(address) && list.some((one) => means(one, address))),
  );
}

function isReply(reply: Reply): boolean {
  return (
    reply.code >= 400 &&
    reply.code < 600 &&
    /^[45]\.\d\.\d+$/.test(reply.enhanced) &&
    reply.enhanced.startsWith(String(reply.code)[0] ?? '') &&
    /^[ -~]{1,400}$/.test(reply.text)
  );
}

function mailboxes(field: 'From' | 'Sender', text: string): readonly Mailbox[] {
  return splitHeader(Buffer.from(`${field}: ${text.replace(/[\r\n]/g, ' ')}\r\n`)).flatMap(mailboxesOf);
}

type Lists = { readonly senders?: readonly string[]; readonly recipients?: readonly string[] };
export interface Rules {
  readonly all: { readonly senders: readonly string[]; readonly recipients: readonly string[] };
  readonly listener: Lists;
  readonly user: Lists;
  readonly client: Lists;
  readonly deny: readonly string[];
  readonly isUser: boolean;
  readonly isClient: boolean;
}
const list = fc.array(pattern, { minLength: 1, maxLength: 3 });
const lists: fc.Arbitrary<Lists> = fc.record({ senders: list, recipients: list }, { requiredKeys: [] });
const rules: fc.Arbitrary<Rules> = fc.record({
  all: fc.record({ senders: fc.oneof(fc.constant(['*']), list), recipients: fc.oneof(fc.constant(['*']), list) }),
  listener: lists,
  user: lists,
  client: lists,
  deny: fc.oneof(fc.constant<string[]>([]), list),
  isUser: fc.boolean(),
  isClient: fc.boolean(),
});

export function policyHolds(given: Rules, address: string, from: string, sender: string): void {
  const policy = createPolicy({
    listeners: [
      { name: 'lan', auth: 'optional', allow: ['10.0.0.0/8'], loginFrom: ['192.168.0.0/16'], ...given.listener },
    ],
    users: [{ name: 'pbx', ...given.user }],
    clients: [{ networks: ['10.1.0.0/16'], ...given.client }],
    senders: { allow: given.all.senders },
    recipients: { allow: given.all.recipients, deny: given.deny },
  });
  const client = {
    listener: 'lan',
    peer: given.isClient ? '10.1.2.3' : '10.2.3.4',
    tls: false,
    ...(given.isUser ? { user: 'pbx' } : {}),
  };
  const applying = (kind: 'senders' | 'recipients'): (readonly string[] | undefined)[] => {
    const own = (given.isUser ? given.user[kind] : undefined) ?? (given.isClient ? given.client[kind] : undefined);
    return [given.all[kind], given.listener[kind], own];
  };
  const check = (reply: Reply | undefined, isAllowed: boolean, what: string): void => {
    if (reply === undefined) mustHold(isAllowed, `${what} was let through`);
    else mustHold(isReply(reply), `not a reply: ${JSON.stringify(reply)}`);
  };
  check(policy.mail(client, address), address === '' || isFine(applying('senders'), address), `sender ${address}`);
  const isDenied = given.deny.some((one) => one === '*' || (isSendable(address) && means(one, address)));
  check(
    policy.recipient(client, address),
    !isDenied && isFine(applying('recipients'), address),
    `recipient ${address}`,
  );
  const header = { from: mailboxes('From', from), sender: mailboxes('Sender', sender) };
  const all = [...header.from, ...header.sender];
  check(
    policy.header(client, header),
    all.every((one) => isFine(applying('senders'), one.address)),
    `header ${JSON.stringify(all)}`,
  );
  // What is refused although every list holds it would be mail lost: names aside, which may claim other addresses.
  if (
    isSendable(address) &&
    [...'"@'].every((sign) => address.split(sign).length < 3) &&
    isFine(applying('senders'), address) &&
    /^[!-~]+$/.test(address)
  )
    mustHold(policy.mail(client, address) === undefined, `${address} was refused`);
  mustHold(policy.connect({ ...client, peer: '172.16.0.1' }) !== undefined, 'a stranger was let in');
  mustHold(policy.needsLogin({ listener: 'lan', tls: false, peer: '192.168.0.1' }), 'no login asked for');
}

const text = fc.oneof(claimed, fc.string({ unit: 'binary', maxLength: 12 }));
const anyPattern = fc.oneof(
  pattern,
  fc.string({
    unit: fc.constantFrom('a', '*', '@', '.', '-', '"', '\\', 'ü', '[', ']', 'contoso.com', 'x.test'),
    maxLength: 6,
  }),
);

export function patternHolds(one: string, address: string): void {
  if (!isPattern(one)) return;
  const isMatch = matcher([one])(address);
  if (isMatch && one !== '*' && isSendable(address)) mustHold(means(one, address), `${address} matches ${one}`);
}

export interface Mapping {
  readonly from?: string;
  readonly envelope?: string;
  readonly user?: string;
  readonly networks?: readonly string[];
  readonly header: 'keep' | 'rewrite' | 'reject';
}
const mapping: fc.Arbitrary<Mapping> = fc
  .tuple(
    fc.record(
      {
        from: pattern,
        envelope: pattern,
        user: fc.constantFrom('pbx', 'x'),
        networks: fc.constantFrom(['10.0.0.0/8'], ['::1']),
      },
      { requiredKeys: [] },
    ),
    fc.constantFrom<'keep' | 'rewrite' | 'reject'>('keep', 'rewrite', 'reject'),
  )
  .map(([conditions, header]) => ({ ...conditions, header }));

export function mappingHolds(given: readonly Mapping[], from: string, reversePath: string): void {
  const map = senderMap({
    mailbox: 'last@contoso.com',
    header: 'keep',
    rules: given.map((rule, index) => ({ ...rule, mailbox: `m${index}@contoso.com` })),
  });
  const authors = mailboxes('From', from);
  const sending = map({
    client: { listener: 'lan', peer: '10.0.0.1', user: 'pbx', tls: true },
    reversePath,
    from: authors,
  });
  if ('code' in sending) {
    mustHold(isReply(sending), `not a reply: ${JSON.stringify(sending)}`);
    mustHold(
      given.some((rule) => rule.header === 'reject'),
      'refused by no rule',
    );
    return;
  }
  const index = given.findIndex((_rule, place) => sending.mailbox === `m${place}@contoso.com`);
  mustHold(index >= 0 || sending.mailbox === 'last@contoso.com', 'a mailbox from nowhere');
  const rule = given[index];
  if (rule === undefined) return;
  mustHold(rule.header === sending.from, 'the wrong From');
  mustHold(rule.user === undefined || rule.user === 'pbx', 'the wrong user');
  mustHold(rule.networks === undefined || rule.networks[0] === '10.0.0.0/8', 'the wrong network');
  for (const [wanted, found] of [
    [rule.from, authors[0]?.address ?? ''],
    [rule.envelope, reversePath],
  ] as const)
    if (wanted !== undefined && isSendable(found)) mustHold(means(wanted, found), `${found} matches ${wanted}`);
}

export const RULE_TARGETS: readonly Target[] = [
  target('addresses against the policy', 0.2, 'policyHolds', [rules, claimed, shown, shown], policyHolds),
  target('addresses against patterns', 0.03, 'patternHolds', [anyPattern, text], patternHolds),
  target('sender mapping', 0.04, 'mappingHolds', [fc.array(mapping, { maxLength: 4 }), shown, claimed], mappingHolds),
];
