/**
 * Every setting there is, with its limits, its default and what it does: the one source of the configuration's type, of
 * config.schema.json and of docs/configuration.md. What two settings demand of each other stands in check.ts.
 */
import { carriedHeader, mailbox, userName } from './addresses.ts';
import { alarms } from './alarms.ts';
import { CLOUDS } from './clouds.ts';
import type { MicrosoftCloud } from './clouds.ts';
import { accountDomain, accountName } from './account.ts';
import { webConsole } from './console.ts';
import { clientId, clientSecret, managedIdentity, passwordHash, scope, tenantId } from './entra.ts';
import { certificate, date, file, networks, octetsOrNever, patterns, secret, time, timeOrNever } from './kinds.ts';
import { listener } from './listener.ts';
import { hostName, proxyChoice, serverUrl } from './network.ts';
import {
  choice,
  flag,
  integer,
  jsonSchemaOf,
  limit,
  list,
  optional,
  orElse,
  section,
  sectionWith,
  settingOf,
  text,
} from './schema.ts';
import type { Parsed } from './schema.ts';
import { pop3 } from './hand-over.ts';
import { pickup } from './pickup.ts';
import { routeName, senders } from './senders.ts';
import { spool } from './spool.ts';
import { shadow, submission } from './submission.ts';

const url = (description: string, httpOnLoopback: boolean, otherwise: string) =>
  text({ description, kind: 'URL', otherwise }, (value) => serverUrl(value, { httpOnLoopback }));

const user = section('Someone who may log in.', {
  name: text({ description: 'The user name.', kind: 'text' }, userName),
  passwordHash: text(
    { description: 'Hash of the password: `npm start -- hash-password` prints it.', kind: 'scrypt hash' },
    passwordHash,
  ),
  senders: optional(
    patterns(
      'Addresses that this user may send as, in the envelope and in From and Sender; without it, see clients.',
      1,
    ),
  ),
  recipients: optional(patterns('Addresses that this user may send to; without it, see clients.', 1)),
  perMinute: orElse(
    limit('Messages that are taken from this user in a minute; more are put off (4xx).', 100_000),
    'unlimited',
  ),
});

const client = section('Clients that are known by their address.', {
  networks: networks('Their networks. The first entry that has the address applies, and no other.', 1),
  senders: optional(
    patterns('Addresses that they may send as, in the envelope and in From and Sender. Default: any.', 1),
  ),
  recipients: optional(patterns('Addresses that they may send to. Default: any.', 1)),
  perMinute: orElse(
    limit('Messages that are taken from one address in a minute; more are put off (4xx).', 100_000),
    'unlimited',
  ),
});

const recipients = section('Who may be sent to.', {
  allow: orElse(patterns('Addresses that may be sent to.', 1), ['*']),
  deny: orElse(patterns('Addresses that may not, even if allow has them.', 0), []),
  headerOnly: orElse(
    choice(
      'Addressees in To and Cc that are not in the envelope. drop: they get nothing, and stay readable in X-Original-To and X-Original-Cc; send: they get the mail; reject: it is refused.',
      ['drop', 'reject', 'send'],
    ),
    'drop',
  ),
});

const logins = section('What becomes of failed logins, by client address. Good ones never count.', {
  failures: orElse(integer('Failures within the time below that lead to a ban.', 1, 1_000), 10),
  within: orElse(time('How long a failure counts.', '1s', '1d'), '10m'),
  ban: orElse(time('How long the address may not connect then.', '1s', '30d'), '15m'),
  delay: orElse(time('How long the answer to a failed login is put off.', '0ms', '30s'), '1s'),
});

const exchange = section('Where mail goes, and as whom.', {
  cloud: orElse(
    choice(
      "Microsoft's cloud that the tenant is in (GCC is worldwide), or Exchange on servers of your own, which takes ewsUrl, username and password.",
      [...(Object.keys(CLOUDS) as [MicrosoftCloud, ...MicrosoftCloud[]]), 'onPremises'],
    ),
    'worldwide',
  ),
  transport: orElse(
    choice(
      'How mail is handed over. ews: Exchange Web Services; graph: Microsoft Graph (Exchange Online only); auto: ews while it is open to the gateway, then graph for good; smtp: SMTP submission, see smtp.',
      ['ews', 'graph', 'auto', 'smtp'],
    ),
    'ews',
  ),
  returnToEws: orElse(
    flag('With transport auto: EWS is taken again when it is found open again. It is looked at once an hour.'),
    false,
  ),
  smtp: orElse(submission, {}),
  shadow: optional(shadow),
  tenantId: optional(
    text(
      {
        description:
          'Directory (tenant) ID, or one of the domains of the tenant. Not for managedIdentity, not on-premises.',
        kind: 'GUID or domain',
      },
      tenantId,
    ),
  ),
  clientId: optional(
    text(
      {
        description: 'Application (client) ID of the app registration. Not for managedIdentity, not on-premises.',
        kind: 'GUID',
      },
      clientId,
    ),
  ),
  clientSecret: optional(
    text(
      {
        description:
          'Value of a client secret (not its Secret ID). One credential is needed: this, clientSecretFile, certificate, managedIdentity or workloadIdentity.',
        kind: 'secret',
      },
      clientSecret,
    ),
  ),
  clientSecretFile: optional(file('File with the client secret, instead of clientSecret.')),
  certificate: optional(
    certificate('A certificate that was uploaded to the app registration, instead of a secret. Its key must be RSA.'),
  ),
  managedIdentity: optional(
    text(
      {
        description:
          'The identity of the Azure machine or service this runs on, instead of an app registration: system, or the client ID of a user-assigned one.',
        kind: '`system` or GUID',
      },
      managedIdentity,
    ),
  ),
  workloadIdentity: optional(
    section('A federated credential of the app registration, instead of a secret.', {
      tokenFile: file('File with the token of the other identity provider (Kubernetes), read anew at each use.'),
    }),
  ),
  username: optional(
    text(
      {
        description:
          'On-premises: the account that logs in, as name, DOMAIN\\name or name@domain. It needs the role ApplicationImpersonation.',
        kind: 'text',
      },
      accountName,
    ),
  ),
  domain: optional(
    text({ description: 'On-premises: domain of the account, unless username has it.', kind: 'text' }, accountDomain),
  ),
  password: optional(secret('On-premises: password of the account. One is needed: this or passwordFile.')),
  passwordFile: optional(file('File with the password, instead of password.')),
  login: orElse(
    choice('On-premises: how the account logs in. basic sends the password itself, inside TLS.', ['ntlm', 'basic']),
    'ntlm',
  ),
  expires: optional(
    date(
      'When the client secret ends, as the app registration shows it: for the alarm and the metric. A day is taken from its beginning in UTC.',
    ),
  ),
  saveToSentItems: orElse(
    flag('Keeps a copy in Sent Items of the sending mailbox. Without it an unclear outcome cannot be looked up.'),
    true,
  ),
  carryHeaders: orElse(
    list(
      'Names of X- fields that are handed to Exchange as properties too. Of any other, Exchange may lose the first that a mailbox sends.',
      text({ description: 'Name of a header field.', kind: 'X- field' }, carriedHeader),
    ),
    [],
  ),
  twoStep: orElse(
    section(
      'Mail that is saved as a draft and then sent by its id, so that an unclear outcome can be cleared up without doubt. So is all with the header field X-Precious: yes.',
      {
        above: orElse(octetsOrNever('What is larger than this goes so.', '0B', '1GiB'), '10MB'),
      },
    ),
    {},
  ),
  ewsUrl: optional(url('Address of Exchange Web Services. http:// on loopback only.', true, "the cloud's")),
  graphUrl: optional(
    url('Address of Microsoft Graph with its version. http:// on loopback only.', true, "the cloud's"),
  ),
  authority: optional(
    url('Address of the identity server. The tenant is added if it has no path.', false, "the cloud's"),
  ),
  scope: optional(
    text({ description: 'Scope of the access token for EWS and SMTP.', kind: 'text', otherwise: "the cloud's" }, scope),
  ),
  graphScope: optional(
    text(
      { description: 'Scope of the access token for Microsoft Graph.', kind: 'text', otherwise: "the cloud's" },
      scope,
    ),
  ),
  minTls: orElse(
    choice('Lowest TLS version on the way to Exchange and the identity server. Old servers may need "1.0".', [
      '1.0',
      '1.1',
      '1.2',
      '1.3',
    ]),
    '1.2',
  ),
  caFile: optional(file('PEM file with certificates of authorities to trust in addition to the public ones.')),
  proxy: orElse(
    text(
      {
        description:
          'HTTP proxy on the way to Exchange and the identity server: its URL, none, or environment (HTTPS_PROXY, http_proxy, NO_PROXY).',
        kind: '`environment`, `none` or URL',
      },
      proxyChoice,
    ),
    'environment',
  ),
  timeouts: orElse(
    section('How long to wait for the servers.', {
      connect: orElse(time('For a connection with its TLS handshake.', '100ms', '5m'), '10s'),
      request: orElse(
        time('For the answer, once a request was sent. The outcome of a longer one is unclear.', '100ms', '30m'),
        '100s',
      ),
    }),
    {},
  ),
});

const route = sectionWith(
  'A way out with an account of its own.',
  {
    name: text(
      {
        description: 'Its name. Rules, log, metrics and `queue move --route` use it.',
        kind: 'letters, digits, -',
      },
      routeName,
    ),
  },
  exchange,
);

export const SETTINGS = section('Configuration of smtp2exchange.', {
  hostname: optional(
    text(
      {
        description: 'Name of this gateway in its greeting, in Received and Message-ID fields.',
        kind: 'domain name',
        otherwise: "the machine's name",
      },
      hostName,
    ),
  ),
  listeners: list('Where mail is taken.', listener, 1),
  users: orElse(list('Who may log in, at listeners with auth.', user), []),
  clients: orElse(
    list('What clients may do by their address, where no list of the user they have logged in as says it.', client),
    [],
  ),
  senders,
  recipients: orElse(recipients, {}),
  logins: orElse(logins, {}),
  exchange,
  routes: orElse(
    list(
      'Further ways out, each with an account of its own: a name, and all that `exchange` has. Mail goes there whose rule of senders.rules says so.',
      route,
    ),
    [],
  ),
  pickup: orElse(
    list('Mailboxes whose mail is handed over to a legacy system (e-mail to fax). See docs/pickup.md.', pickup),
    [],
  ),
  pop3: optional(pop3),
  pacing: orElse(
    section('How fast mail is handed over. What is over it waits.', {
      perMailbox: orElse(
        section('For each sending mailbox.', {
          concurrency: orElse(integer('Messages on their way at the same time.', 1, 100), 4),
          perMinute: orElse(limit("Messages begun in any 60 seconds. Exchange Online's own limit is 30.", 100_000), 30),
        }),
        {},
      ),
      concurrency: orElse(integer('Messages on their way at the same time, in all.', 1, 1_000), 16),
      catchUp: orElse(
        choice(
          'How a mailbox works off what had to wait for an outage to end or for the gateway to start. inOrder: one at a time, so that it arrives in order; parallel: as fast as perMailbox allows.',
          ['inOrder', 'parallel'],
        ),
        'inOrder',
      ),
      first: orElse(
        list(
          'Mail of a mailbox that goes before other due mail of it. small: under 100 kB; important: of high importance.',
          choice('What goes first.', ['small', 'important']),
        ),
        [],
      ),
    }),
    {},
  ),
  retry: orElse(
    section('What happens to a message that could not be delivered yet.', {
      intervals: orElse(
        list('Waits after the first, second, ... failure; the last one repeats.', time('A wait.', '100ms', '7d'), 1),
        ['1m', '5m', '15m', '1h'],
      ),
      warnAfter: orElse(timeOrNever('Age at which its sender is warned, once, that it is late.', '1s', '30d'), '4h'),
      giveUpAfter: orElse(
        time('Age at which it is given up: returned to its sender, or set aside for the operator.', '1s', '30d'),
        '2d',
      ),
      verifyAfter: orElse(
        time('After an unclear outcome: wait before looking whether the message went out.', '100ms', '1h'),
        '90s',
      ),
    }),
    {},
  ),
  bounces: orElse(
    section('What the sender is told of a message that could not be delivered, or is late (RFC 3461, RFC 3464).', {
      send: orElse(flag('Tells the sender. false: nobody is told; what failed is set aside for the operator.'), true),
      postmaster: optional(
        text(
          {
            description: 'Is told instead of a sender who cannot receive mail. Without it, such mail is set aside.',
            kind: 'e-mail address',
          },
          mailbox,
        ),
      ),
      body: orElse(
        choice('What of the message comes back where its sender has not asked for one of them (RET).', [
          'headers',
          'full',
        ]),
        'headers',
      ),
    }),
    {},
  ),
  spool: orElse(spool, {}),
  alarms: orElse(alarms, {}),
  console: orElse(webConsole, {}),
  shutdown: orElse(
    section('What happens at the end.', {
      timeout: orElse(
        time(
          'How long the process may take to end. Mail on its way has all of it but 1.5s, or half if that is more; the rest is for writing down what was cut short. Nothing is lost after it.',
          '100ms',
          '10m',
        ),
        '8s',
      ),
    }),
    {},
  ),
  log: orElse(
    section('JSON lines on standard output.', {
      level: orElse(choice('How much is said.', ['debug', 'info', 'warn', 'error']), 'info'),
      addresses: orElse(
        choice('How e-mail addresses are shown: full, domain (only what follows the @) or hashed.', [
          'full',
          'domain',
          'hashed',
        ]),
        'full',
      ),
    }),
    {},
  ),
});

/** A file's settings, each read by itself. */
export type Settings = Parsed<typeof SETTINGS>;

/** The tree that a file is read by. */
export const ROOT = settingOf(SETTINGS);

export function jsonSchema(): unknown {
  return jsonSchemaOf(SETTINGS, {
    title: 'smtp2exchange',
    description: 'Configuration of smtp2exchange (config.yaml).',
  });
}
