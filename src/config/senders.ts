/** The settings of who sends: which addresses may, which mailbox does, and what becomes of From. */
import { displayName, mailbox, userName } from './addresses.ts';
import { addressPattern, networks, patterns } from './kinds.ts';
import { hostName } from './network.ts';
import { choice, list, optional, orElse, section, text } from './schema.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

const FROM = ['keep', 'rewrite', 'reject'] as const;

const rule = section(
  'Whose mail is sent by another mailbox or with another From. All conditions that are given must hold.',
  {
    from: optional(addressPattern('Condition: the address in From, of several the first, matches.')),
    envelope: optional(addressPattern('Condition: the envelope sender (MAIL FROM) matches.')),
    listener: optional(
      text({ description: 'Condition: it came in at the listener of this name.', kind: 'text' }, userName),
    ),
    user: optional(text({ description: 'Condition: the client has logged in as this user.', kind: 'text' }, userName)),
    networks: optional(networks("Condition: the client's address is in one of these networks.", 1)),
    mailbox: optional(
      text({ description: 'The mailbox that sends.', kind: 'e-mail address', otherwise: 'senders.mailbox' }, mailbox),
    ),
    route: optional(
      text(
        {
          description: 'The way out: the name of one of routes.',
          kind: 'letters, digits, -',
          otherwise: '`exchange`',
        },
        routeName,
      ),
    ),
    header: orElse(
      choice(
        'keep: From stays as it is; rewrite: From becomes the mailbox, the old one goes to Reply-To; reject: the message is refused.',
        FROM,
      ),
      'keep',
    ),
    name: optional(
      text(
        { description: 'Display name in From, with header: rewrite.', kind: 'text', otherwise: "the old From's" },
        displayName,
      ),
    ),
  },
);

export const senders = section('Who may send, and as which mailbox mail is sent.', {
  mailbox: text(
    { description: 'The mailbox that sends what no rule gives to another.', kind: 'e-mail address' },
    mailbox,
  ),
  allow: orElse(
    patterns('Addresses that may send, in the envelope and in From and Sender. All of these must be allowed.', 1),
    ['*'],
  ),
  header: orElse(choice('What becomes of From where no rule matches: as in rules.', FROM), 'keep'),
  domain: optional(
    text(
      {
        description: 'Completes addresses without a domain, such as From: fax.',
        kind: 'domain name',
        otherwise: 'that of mailbox',
      },
      hostName,
    ),
  ),
  nullReversePath: orElse(
    choice(
      'Bounces and other mail with MAIL FROM:<>, which Exchange sends with a return path all the same. suppress: marked so that nobody answers automatically; reject: refused.',
      ['suppress', 'reject'],
    ),
    'suppress',
  ),
  rules: orElse(list('Which mailbox sends, and with which From. The first rule that matches decides.', rule), []),
});

/** It is part of file names, too. */
export function routeName(value: string): Value<string> {
  return /^[A-Za-z0-9-]{1,32}$/.test(value) ? good(value) : bad('must be 1 to 32 letters, digits or hyphens');
}
