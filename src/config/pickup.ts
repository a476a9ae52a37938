/** The settings of mailboxes that are picked up from; how mail goes on from there: hand-over.ts. What they demand: pickup-check.ts. */
import { PLACES } from '../mail/destination.ts';
import { ACTIONS } from '../mail/pickup-rules.ts';
import { mailbox } from './addresses.ts';
import { deliver } from './hand-over.ts';
import { octets, patterns, time } from './kinds.ts';
import { choice, flag, integer, limit, list, optional, orElse, section, text } from './schema.ts';
import { routeName } from './senders.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

const folderPath = (description: string) => text({ description, kind: 'folder path' }, folder);
const line = (description: string) => text({ description, kind: 'text' }, sentence);

const from = section('Whose mail is handed over. What is from others goes to the folder refused.', {
  allow: orElse(patterns('Addresses that may send. Anybody can write any address into a mail: see inside.', 1), ['*']),
  deny: orElse(patterns('Addresses that may not, even if allow has them.', 0), []),
  inside: orElse(
    flag('Only senders of whom Exchange itself says that they have logged in to the organisation.'),
    false,
  ),
});

const recipient = section('Where to look for a recipient of the legacy system, and what its address is.', {
  in: choice(
    'Where to look. subject; recipient: each address of To and Cc; plus: what follows a plus sign in the own address of the mailbox (fax+4930@contoso.com); fax: the number in an address such as FAX=+4930@... or IMCEAFAX-+4930@... (RFC 3192), and its subaddress (T33S) as second group; always: nowhere, `to` is the address.',
    PLACES,
  ),
  pattern: optional(
    text(
      {
        description:
          'A regular expression (RE2), found anywhere in it unless it has ^ and $. Upper and lower case are the same. Needed with subject and recipient, not possible with always.',
        kind: 'regular expression',
      },
      expression,
    ),
  ),
  to: text(
    {
      description:
        'The address that results, such as $1@fax.local: $0 stands for what was found, $1 to $9 for the groups of the pattern. No $ in its domain.',
      kind: 'e-mail address with `$1`',
    },
    template,
  ),
  digits: orElse(flag('Of what was found only the digits go in, and a plus sign that stands before them.'), false),
  tests: orElse(
    list(
      'Examples of what this entry finds, tried whenever the file is read.',
      section('An example.', {
        text: text({ description: 'A subject, or an address.', kind: 'text' }, anything),
        gives: text(
          {
            description: 'The address that has to result, or none. Several with commas.',
            kind: 'e-mail address, or `none`',
          },
          anything,
        ),
      }),
    ),
    [],
  ),
});

const attachments = section('Attachments that a mail may have; with others it goes to the folder refused.', {
  required: orElse(flag('There must be one.'), false),
  allow: orElse(
    list(
      'Their kinds: .pdf (of the name), image/tiff, image/*, or * for all. Pictures inside the text are always allowed.',
      text({ description: 'A kind.', kind: '`.pdf`, `image/tiff`, `image/*` or `*`' }, attachmentKind),
      1,
    ),
    ['*'],
  ),
  maxCount: orElse(integer('How many.', 1, 1_000), 100),
  maxSize: orElse(octets('Each.', '1KB', '1GiB'), '1GiB'),
});

const action = (description: string, otherwise: (typeof ACTIONS)[number]) =>
  orElse(choice(description, ACTIONS), otherwise);

const kinds = section(
  'Mail out of the ordinary. deliver: handed over like any other; skip: left where it is; quarantine: put aside in the mailbox.',
  {
    signed: action('Signed mail (S/MIME); handed over as it is.', 'deliver'),
    encrypted: action('Encrypted mail (S/MIME), which only its recipient can read.', 'quarantine'),
    meeting: action('Meeting requests, answers and cancellations.', 'skip'),
    report: action('Delivery reports and receipts.', 'skip'),
    automatic: action('Automatic answers (RFC 3834), such as out-of-office messages.', 'skip'),
    noSender: action('Mail with nobody in From.', 'deliver'),
    other: action('What is no mail, such as posts and notes.', 'quarantine'),
  },
);

/** Where mail goes once it was taken, unless something else is wanted. */
export const PROCESSED = 'Processed';

const after = section(
  'What becomes of a mail in its mailbox once this gateway has it on its disk: one of these. Default: `move: Processed`.',
  {
    move: optional(folderPath('Moved to this folder, which is made if it does not exist.')),
    delete: optional(flag('true: moved to the deleted items.')),
    read: optional(flag('true: marked as read. Mail that is read is not picked up then.')),
    keep: optional(flag('true: nothing. The gateway remembers what it has had.')),
  },
);

const answer = section('What the sender of a mail is told, by mail.', {
  success: orElse(flag('Told that it was handed over.'), false),
  failure: orElse(
    flag('Told that it could not be handed over, or is late. false: such mail is set aside for the operator.'),
    true,
  ),
  refusal: optional(
    line('Told, in these words, that a rule refused it. Without this, senders of refused mail are told nothing.'),
  ),
  from: optional(
    text({ description: 'The mailbox that tells.', kind: 'e-mail address', otherwise: 'the mailbox itself' }, mailbox),
  ),
  subject: optional(
    line(
      'Subject of what is told of success and failure. {subject}, {to}, {status}, {date} stand for those of the mail.',
    ),
  ),
  text: optional(line('Its first paragraph. As in subject; {reason} too.')),
});

export const pickup = section('A mailbox whose mail is handed over to a legacy system (e-mail to fax).', {
  name: optional(
    text(
      {
        description: 'Its name in log, metrics and queue. None of the ways out has it.',
        kind: 'letters, digits, -',
        otherwise: '`pickup`, `pickup-2`, ...',
      },
      routeName,
    ),
  ),
  mailbox: text({ description: 'The mailbox, shared or not.', kind: 'e-mail address' }, mailbox),
  folder: orElse(
    folderPath(
      'The folder, from the root of the mailbox: Inbox, Inbox/Fax. English names of the usual folders serve in any language.',
    ),
    'Inbox',
  ),
  route: optional(
    text(
      {
        description: 'The account that reads it: the name of one of routes.',
        kind: 'letters, digits, -',
        otherwise: '`exchange`',
      },
      routeName,
    ),
  ),
  transport: orElse(
    choice(
      'How it is read. ews; graph; auto: ews while it is open to the gateway, then graph; route: as the account sends (smtp: graph, on-premises ews).',
      ['route', 'ews', 'graph', 'auto'],
    ),
    'route',
  ),
  interval: orElse(time('How often it is looked into, whatever the notifications say.', '1s', '1d'), '1m'),
  notifications: orElse(flag('Lets the server tell of new mail at once (EWS only).'), true),
  claim: orElse(
    flag(
      'Marks the folder in the mailbox, so that of two gateways that pick up from it only one does. false: it is not marked, and a second one would hand over everything too.',
    ),
    true,
  ),
  maxSize: orElse(
    octets('Largest mail that is taken; a larger one goes to the folder refused.', '1KB', '1GiB'),
    '150MB',
  ),
  from: orElse(from, {}),
  recipients: orElse(
    list(
      'Who gets the mail in the legacy system. The first entry that finds anybody decides. Default: the mailbox itself.',
      recipient,
    ),
    [],
  ),
  attachments: orElse(attachments, {}),
  kinds: orElse(kinds, {}),
  deliver,
  after: orElse(after, {}),
  refused: orElse(folderPath('Folder for what a rule refuses.'), 'Refused'),
  quarantine: orElse(
    folderPath('Folder for what cannot be read, goes round in a circle, or is put aside by kinds.'),
    'Quarantine',
  ),
  answer: orElse(answer, {}),
  concurrency: orElse(integer('Mails that are fetched, and that are handed over, at the same time.', 1, 100), 4),
  perMinute: orElse(limit('Mails handed over in any 60 seconds.', 100_000), 'unlimited'),
});

/** Names separated by slashes. */
function folder(value: string): Value<string> {
  const names = value.split('/');
  return names.length <= 10 && names.every((name) => /^[^\p{C}]{1,255}$/u.test(name) && name.trim() === name)
    ? good(value)
    : bad('must be names of folders with / between them, such as Inbox/Fax', 'without / at its beginning or end');
}

function sentence(value: string): Value<string> {
  return /^[^\p{C}]{1,998}$/u.test(value) ? good(value) : bad('must be one line of 1 to 998 characters');
}

function anything(value: string): Value<string> {
  return value.length <= 1_000 ? good(value) : bad('must have at most 1000 characters');
}

function expression(value: string): Value<string> {
  return value.length > 0 && value.length <= 500 ? good(value) : bad('must have 1 to 500 characters');
}

function template(value: string): Value<string> {
  return /^[^\p{C}\s]+@[^\p{C}\s@]+$/u.test(value) && value.length <= 320
    ? good(value)
    : bad('must be an address, such as $1@fax.local');
}

function attachmentKind(value: string): Value<string> {
  return value === '*' || /^\.[^\p{C}\s/\\]{1,20}$/u.test(value) || /^[\w.+-]+\/(?:\*|[\w.+-]+)$/.test(value)
    ? good(value.toLowerCase())
    : bad('must be a kind of attachment: .pdf, image/tiff, image/* or *');
}
