/** The settings of mail that is handed over by SMTP, and what becomes of them. What they demand of each other: smarthost.ts. */
import type { Cloud, MicrosoftCloud } from './clouds.ts';
import type { SmtpConfig } from './config.ts';
import { file, secret } from './kinds.ts';
import { serverName } from './network.ts';
import { choice, integer, optional, orElse, section, text } from './schema.ts';
import type { Parsed } from './schema.ts';
import type { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

export const submission = section('The SMTP server, for transport: smtp.', {
  host: optional(
    text(
      {
        description: 'Its name or IP address: of the cloud, of a connector, of any smarthost.',
        kind: 'domain name or IP address',
        otherwise: "the cloud's",
      },
      serverName,
    ),
  ),
  port: orElse(integer('Its TCP port.', 1, 65_535), 587),
  tls: orElse(
    choice(
      'required: STARTTLS, or nothing is sent; implicit: TLS from the first octet (port 465); none: in clear, where the way is safe.',
      ['required', 'implicit', 'none'],
    ),
    'required',
  ),
  minTls: orElse(choice('Lowest TLS version.', ['1.0', '1.1', '1.2', '1.3']), '1.2'),
  login: orElse(
    choice(
      'oauth: XOAUTH2 with the credential of the app registration, which needs the permission SMTP.SendAsApp; password: a user name and password; none: the server knows this gateway by its address.',
      ['oauth', 'password', 'none'],
    ),
    'oauth',
  ),
  username: optional(
    text(
      {
        description: 'Who logs in. With oauth: a mailbox that sends for all; without it, each sends as itself.',
        kind: 'text',
      },
      loginName,
    ),
  ),
  password: optional(secret('The password, for login: password.')),
  passwordFile: optional(file('File with the password, instead of password.')),
});

function loginName(value: string): Value<string> {
  return /^[^\p{C}]{1,320}$/u.test(value) ? good(value) : bad('must be 1 to 320 characters, none of them a control');
}

/** Instead of Exchange, which is only rehearsed. */
export const shadow = section(
  'Shadow mode, for a migration: this SMTP server delivers, Exchange is rehearsed only, and the log says what would have been sent.',
  {
    host: text({ description: 'Its name or IP address.', kind: 'domain name or IP address' }, serverName),
    port: orElse(integer('Its TCP port.', 1, 65_535), 25),
    tls: orElse(
      choice('required: STARTTLS, or nothing is sent; implicit: TLS from the first octet; none: in clear.', [
        'required',
        'implicit',
        'none',
      ]),
      'required',
    ),
    minTls: orElse(choice('Lowest TLS version.', ['1.0', '1.1', '1.2', '1.3']), '1.2'),
  },
);

/** Microsoft's submission servers. */
const HOSTS: Readonly<Record<MicrosoftCloud, string>> = {
  worldwide: 'smtp.office365.com',
  gccHigh: 'smtp.office365.us',
  dod: 'smtp.office365.us',
  china: 'smtp.partner.outlook.cn',
};

export function smtpOf(settings: Parsed<typeof submission>, cloud: Cloud, fetched: Secret | undefined): SmtpConfig {
  // On-premises, checks have seen to host.
  const { host = cloud === 'onPremises' ? '' : HOSTS[cloud], port, tls, minTls, login, username } = settings;
  const server = { host, port, tls, minTls };
  if (login === 'none') return { ...server, login: { kind: 'none' } };
  if (login === 'oauth') return { ...server, login: { kind: 'oauth', ...(username !== undefined && { username }) } };
  const password = settings.password ?? fetched;
  if (username === undefined || password === undefined) throw new Error('a login without password passed its checks');
  return { ...server, login: { kind: 'password', username, password } };
}
