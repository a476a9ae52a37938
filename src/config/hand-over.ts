/**
 * The settings of the ways to hand picked-up mail over, and of the door that POP3 clients come by. What they demand:
 * pickup-check.ts.
 */
import { webhookKey } from '../mail/signing-key.ts';
import { mailbox, userName } from './addresses.ts';
import { passwordHash } from './entra.ts';
import { certificate, commandWord, file, networks, secret, secretUrl, time } from './kinds.ts';
import { ipAddress, serverName } from './network.ts';
import { choice, integer, list, optional, orElse, section, text } from './schema.ts';
import { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

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

export const deliver = section('How mail is handed over: in one of these ways.', {
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
      'Its certificate, read again when its files change. Needed if tls is required or implicit; if it is optional, one is made and kept beside the spool, or in spool.folder.',
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

function envelopeSender(value: string): Value<string> {
  if (value === 'sender' || value === 'none') return good(value);
  const address = mailbox(value);
  return address.ok ? address : bad('must be sender, none or an e-mail address');
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
