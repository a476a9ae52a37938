/** The settings of mailboxes that are picked up from, and of the door that POP3 clients come by. What they demand: pickup-check.ts. */
import { PLACES } from '../mail/destination.ts';
import { ACTIONS } from '../mail/pickup-rules.ts';
import { webhookKey } from '../mail/signing-key.ts';
import { mailbox, userName } from './addresses.ts';
import { passwordHash } from './entra.ts';
import { certificate, file, networks, octets, patterns, secret, secretUrl, time } from './kinds.ts';
import { ipAddress, serverName } from './network.ts';
import { choice, flag, integer, limit, list, optional, orElse, section, text } from './schema.ts';
import { Secret } from './secret.ts';
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

const smtp = section('An SMTP server.', {
  host: text(
    { description: 'Its name or IP address. No listener of this gateway.', kind: 'domain name or IP address' },
    serverName,
  ),
  port: orElse(integer('Its TCP port.', 1, 65_535), 25),
  to: optional(
    text(
      {
        description: 'Who gets the mail for which recipients finds nobody. One of the two is needed.',
        kind: 'e-mail address',
      },
      mailbox,
    ),
  ),
  from: orElse(
    text(
      {
        description: 'The sender of the envelope: sender (who sent the mail), none (<>), or an address.',
        kind: '`sender`, `none` or e-mail address',
      },
      envelopeSender,
    ),
    'sender',
  ),
  tls: orElse(
    choice('none: in clear; required: STARTTLS, or nothing is sent; implicit: TLS from the first octet.', [
      'none',
      'required',
      'implicit',
    ]),
    'none',
  ),
  minTls: orElse(choice('Lowest TLS version.', ['1.0', '1.1', '1.2', '1.3']), '1.2'),
  caFile: optional(file('PEM file with certificates of authorities to trust in addition to the public ones.')),
  username: optional(text({ description: 'Who logs in, if the server wants a login.', kind: 'text' }, userName)),
  password: optional(secret('The password. One is needed with username: this or passwordFile.')),
  passwordFile: optional(file('File with the password, instead of password.')),
});

const deliver = section('How mail is handed over: in one of these ways.', {
  smtp: optional(smtp),
  folder: optional(
    section('Files in a folder.', {
      path: file('The folder. It is made if it does not exist.'),
      form: orElse(
        choice(
          'message: the mail as one .eml file; parts: text and attachments as files. With a JSON file of the facts each.',
          ['message', 'parts'],
        ),
        'message',
      ),
    }),
  ),
  webhook: optional(
    section('An HTTP server that each mail is posted to.', {
      url: secretUrl('Its address. http:// on loopback only.'),
      form: orElse(
        choice('raw: the mail (message/rfc822); multipart: a form with the facts as JSON and the mail as file.', [
          'raw',
          'multipart',
        ]),
        'raw',
      ),
      secret: optional(
        text(
          {
            description:
              'Key of the signature (HMAC-SHA256, Standard Webhooks) that the receiver checks: whsec_ and 24 to 64 octets in base64. Without it, nothing is signed.',
            kind: 'secret',
          },
          signingKey,
        ),
      ),
      secretFile: optional(file('File with the key, instead of secret.')),
      authorization: optional(
        text(
          {
            description: 'Value of the field Authorization, where the server wants a login: Bearer ..., Basic ...',
            kind: 'secret',
          },
          authorization,
        ),
      ),
      authorizationFile: optional(file('File with it, instead of authorization.')),
      caFile: optional(file('PEM file with certificates of authorities to trust in addition to the public ones.')),
      timeout: orElse(time('For the answer.', '1s', '1h'), '1m'),
    }),
  ),
  command: optional(
    section('A program that is run for each mail, which it gets on its standard input.', {
      run: list(
        'The program, by its path or its name in PATH, and its arguments. No shell.',
        text({ description: 'A word of the command.', kind: 'text' }, commandWord),
        1,
      ),
      timeout: orElse(time('After it the program is ended.', '1s', '1d'), '5m'),
    }),
  ),
  pop3: optional(
    section('A mailbox that POP3 clients empty at the door that the section pop3 opens.', {
      user: text({ description: 'The user name of the client. Upper and lower case differ.', kind: 'text' }, userName),
      passwordHash: text(
        { description: 'Hash of the password: `npm start -- hash-password` prints it.', kind: 'scrypt hash' },
        passwordHash,
      ),
    }),
  ),
});

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

export const pop3 = section('The door that POP3 clients empty mailboxes by: those of pickup with deliver.pop3.', {
  address: orElse(text({ description: 'IP address to listen on.', kind: 'IP address' }, ipAddress), '127.0.0.1'),
  port: orElse(integer('TCP port. 0 takes any that is free and logs which.', 0, 65_535), 1110),
  tls: orElse(
    choice('none; optional or required: STLS is offered or demanded; implicit: TLS from the first octet (port 995).', [
      'none',
      'optional',
      'required',
      'implicit',
    ]),
    'optional',
  ),
  certificate: optional(
    certificate(
      'Its certificate, read again when its files change. Needed if tls is required or implicit; if it is optional, one is made and kept beside the spool.',
    ),
  ),
  minTls: orElse(choice('Lowest TLS version.', ['1.0', '1.1', '1.2', '1.3']), '1.2'),
  allow: orElse(networks('Networks whose clients may connect.', 1), ['127.0.0.0/8', '::1/128']),
  plainFrom: orElse(
    networks(
      'Networks whose clients may log in without TLS, unless tls is required: passwords cross the network readable.',
      0,
    ),
    ['127.0.0.0/8', '::1/128'],
  ),
  maxConnections: orElse(integer('Connections at the same time.', 1, 10_000), 50),
  maxConnectionsPerAddress: orElse(integer('Connections at the same time from one client address.', 1, 10_000), 10),
  idleTimeout: orElse(time('How long a client may be silent (RFC 1939: at least 10 minutes).', '1s', '1h'), '10m'),
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

function envelopeSender(value: string): Value<string> {
  if (value === 'sender' || value === 'none') return good(value);
  const address = mailbox(value);
  return address.ok ? address : bad('must be sender, none or an e-mail address');
}

function attachmentKind(value: string): Value<string> {
  return value === '*' || /^\.[^\p{C}\s/\\]{1,20}$/u.test(value) || /^[\w.+-]+\/(?:\*|[\w.+-]+)$/.test(value)
    ? good(value.toLowerCase())
    : bad('must be a kind of attachment: .pdf, image/tiff, image/* or *');
}

export function signingKey(value: string): Value<Secret> {
  return webhookKey(value) === undefined
    ? bad('must be whsec_ and 24 to 64 octets in base64', 'echo whsec_$(openssl rand -base64 32) makes one')
    : good(new Secret(value));
}

/** RFC 9110 section 11.4. */
export function authorization(value: string): Value<Secret> {
  return /^[\w!#$%&'*+.^`|~-]+ [\x21-\x7e][\x20-\x7e]{0,7999}$/.test(value)
    ? good(new Secret(value))
    : bad('must be a scheme, a space and what goes with it, such as Bearer and a token', 'ASCII only, on one line');
}

function commandWord(value: string): Value<string> {
  return value.includes('\0') ? bad('must not hold a NUL character') : good(value);
}
