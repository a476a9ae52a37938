/**
 * Every setting there is, with its limits, its default and what it does: the one source of the configuration's type, of
 * config.schema.json and of docs/configuration.md. What two settings demand of each other stands in check.ts.
 */
import { isSendable } from '../mail/addresses.ts';
import { CLOUDS } from './clouds.ts';
import type { Cloud } from './clouds.ts';
import { clientId, clientSecret, passwordHash, scope, tenantId } from './entra.ts';
import { hostName, ipAddress, network, proxyChoice, serverUrl } from './network.ts';
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
  settingOf,
  text,
} from './schema.ts';
import type { Parsed } from './schema.ts';
import { Secret } from './secret.ts';
import { DURATION_PATTERN, duration, SIZE_PATTERN, size } from './units.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

const file = (description: string) => text({ description, kind: 'file' }, filled);
const secret = (description: string) => text({ description, kind: 'secret' }, (value) => good(new Secret(value)));
const url = (description: string, httpOnLoopback: boolean, otherwise: string) =>
  text({ description, kind: 'URL', otherwise }, (value) => serverUrl(value, { httpOnLoopback }));
const time = (description: string, least: string, most: string) =>
  text({ description, kind: `duration, ${least} to ${most}`, pattern: DURATION_PATTERN }, (value) =>
    duration(value, least, most),
  );
const octets = (description: string, least: string, most: string) =>
  text({ description, kind: `size, ${least} to ${most}`, pattern: SIZE_PATTERN }, (value) => size(value, least, most));

const certificate = (description: string) =>
  section(description, {
    certFile: file('PEM file with the certificate, followed by the certificates of its issuers if there are any.'),
    keyFile: file('PEM file with the private key of the certificate.'),
    passphrase: optional(secret('Passphrase of the private key, if it is encrypted.')),
    passphraseFile: optional(file('File with the passphrase, instead of passphrase.')),
  });

const listener = section('One address and port that takes mail.', {
  name: text(
    {
      description: 'Name in logs, metrics and the Received field.',
      kind: 'letters, digits, . _ -',
      pattern: '^[\\w.-]{1,32}$',
    },
    (value) =>
      /^[\w.-]{1,32}$/.test(value) ? good(value) : bad('must be 1 to 32 letters, digits, dots, hyphens or underscores'),
  ),
  address: orElse(
    text(
      {
        description:
          'IP address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for all of IPv4, "::" for IPv6 too.',
        kind: 'IP address',
      },
      ipAddress,
    ),
    '127.0.0.1',
  ),
  port: integer('TCP port. 0 takes any that is free and logs which.', 0, 65_535),
  tls: orElse(
    choice(
      'none; optional or required: STARTTLS is offered or demanded; implicit: TLS from the first octet (port 465).',
      ['none', 'optional', 'required', 'implicit'],
    ),
    'none',
  ),
  certificate: optional(certificate('The certificate of this listener. Needed unless tls is none.')),
  minTls: orElse(choice('Lowest TLS version. Old printers may need "1.0".', ['1.0', '1.1', '1.2', '1.3']), '1.2'),
  auth: orElse(
    choice('Whether clients may or must log in (PLAIN, LOGIN) as one of the users.', ['none', 'optional', 'required']),
    'none',
  ),
  allowInsecureAuth: orElse(
    flag('Lets clients log in without TLS: their passwords cross the network readable.'),
    false,
  ),
  allow: orElse(
    list(
      'Networks whose clients may connect, before any login. Everyone, 0.0.0.0/0, must be said on purpose.',
      text({ description: 'A network in CIDR form or one address.', kind: 'network' }, network),
      1,
    ),
    ['127.0.0.0/8', '::1/128'],
  ),
  maxMessageSize: orElse(
    octets("Largest message, announced as SIZE. Exchange's own default is 35 MiB.", '1KB', '1GiB'),
    '35MiB',
  ),
  maxHeaderSize: orElse(octets('Largest header block of a message.', '1KB', '4MiB'), '256KiB'),
  maxConnections: orElse(integer('Connections at the same time.', 1, 10_000), 100),
  maxRecipients: orElse(integer("Recipients of one message. Exchange's own default is 500.", 1, 10_000), 500),
  idleTimeout: orElse(
    time('How long a client may be silent (RFC 5321 section 4.5.3.2.7: 5 minutes).', '1s', '1h'),
    '5m',
  ),
  maxHops: orElse(integer('Received fields after which a message is refused as looping.', 1, 1_000), 50),
});

const user = section('Someone who may log in.', {
  name: text({ description: 'The user name.', kind: 'text' }, userName),
  passwordHash: text(
    { description: 'Hash of the password: `npm start -- hash-password` prints it.', kind: 'scrypt hash' },
    passwordHash,
  ),
});

const exchange = section('Where mail goes, and as whom.', {
  cloud: orElse(
    choice("Microsoft's cloud that the tenant is in. GCC is worldwide.", Object.keys(CLOUDS) as [Cloud, ...Cloud[]]),
    'worldwide',
  ),
  transport: orElse(choice('How mail is handed over: Exchange Web Services.', ['ews']), 'ews'),
  tenantId: text(
    { description: 'Directory (tenant) ID, or one of the domains of the tenant.', kind: 'GUID or domain' },
    tenantId,
  ),
  clientId: text({ description: 'Application (client) ID of the app registration.', kind: 'GUID' }, clientId),
  clientSecret: optional(
    text(
      {
        description:
          'Value of a client secret (not its Secret ID). One credential is needed: this, clientSecretFile or certificate.',
        kind: 'secret',
      },
      clientSecret,
    ),
  ),
  clientSecretFile: optional(file('File with the client secret, instead of clientSecret.')),
  certificate: optional(
    certificate('A certificate that was uploaded to the app registration, instead of a secret. Its key must be RSA.'),
  ),
  saveToSentItems: orElse(
    flag('Keeps a copy in Sent Items of the sending mailbox. Without it an unclear outcome cannot be looked up.'),
    true,
  ),
  ewsUrl: optional(url('Address of Exchange Web Services. http:// on loopback only.', true, "the cloud's")),
  authority: optional(
    url('Address of the identity server. The tenant is added if it has no path.', false, "the cloud's"),
  ),
  scope: optional(text({ description: 'Scope of the access token.', kind: 'text', otherwise: "the cloud's" }, scope)),
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
  senders: section('As which mailbox mail is sent.', {
    mailbox: text({ description: 'The mailbox that sends everything.', kind: 'e-mail address' }, mailbox),
  }),
  exchange,
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
    }),
    {},
  ),
  retry: orElse(
    section('What happens to a message that could not be delivered yet.', {
      intervals: orElse(
        list('Waits after the first, second, ... failure; the last one repeats.', time('A wait.', '100ms', '7d'), 1),
        ['1m', '5m', '15m', '1h'],
      ),
      giveUpAfter: orElse(time('Age at which it is given up and set aside for the operator.', '1s', '30d'), '2d'),
      verifyAfter: orElse(
        time('After an unclear outcome: wait before looking whether the message went out.', '100ms', '1h'),
        '90s',
      ),
    }),
    {},
  ),
  spool: orElse(
    section('Where mail is kept until it is delivered.', {
      sqlite: orElse(file('The database file. Its folder is made if it does not exist.'), 'data/spool.db'),
      maxItems: orElse(
        integer('Messages waiting, from which on new ones are refused for a while (452).', 1, 100_000_000),
        100_000,
      ),
      minFree: orElse(
        octets('Free space on the disk, below which new messages are refused for a while (452).', '1MB', '1000GB'),
        '500MB',
      ),
      retention: orElse(
        time('How long the history of delivered messages is kept. Their content goes at once.', '1m', '3650d'),
        '7d',
      ),
    }),
    {},
  ),
  console: orElse(
    section(
      'HTTP for Prometheus and health checks: /metrics, /livez, /readyz. No mail, no secrets, no login: open it to your monitoring only.',
      {
        address: orElse(text({ description: 'IP address to listen on.', kind: 'IP address' }, ipAddress), '127.0.0.1'),
        port: orElse(integer('TCP port. 0 takes any that is free and logs which.', 0, 65_535), 8025),
      },
    ),
    {},
  ),
  shutdown: orElse(
    section('What happens at the end.', {
      timeout: orElse(
        time('How long mail on its way may take before the process ends. Nothing is lost after it.', '100ms', '10m'),
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

function filled(value: string): Value<string> {
  return value.includes('\0') ? bad('must be the path of a file') : good(value);
}

function mailbox(value: string): Value<string> {
  return isSendable(value) ? good(value) : bad('must be an e-mail address, such as notifications@contoso.com');
}

function userName(value: string): Value<string> {
  return /^[^\p{C}]{1,255}$/u.test(value)
    ? good(value)
    : bad('must be 1 to 255 characters, none of them a control character');
}
