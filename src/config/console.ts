/** The settings of the console. What they demand of each other: console-check.ts. */
import { userName } from './addresses.ts';
import { passwordHash } from './entra.ts';
import { certificate, file, time } from './kinds.ts';
import { hostName, ipAddress } from './network.ts';
import { integer, list, optional, orElse, section, text } from './schema.ts';
import { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** Characters: what chance gives in 128 bits, as base64url. */
const SHORTEST_TOKEN = 22;
const LONGEST_TOKEN = 256;

/** Long, because it is a login without a name; what a header field can carry. */
export function consoleToken(value: string): Value<Secret> {
  if (!/^[\x21-\x7e]*$/.test(value)) return bad('must consist of letters, digits and signs, without spaces');
  if (value.length < SHORTEST_TOKEN || value.length > LONGEST_TOKEN)
    return bad(`must have ${SHORTEST_TOKEN} to ${LONGEST_TOKEN} characters`, 'openssl rand -hex 24 makes a good one');
  return good(new Secret(value));
}

const operator = section('Somebody who may log in to the console.', {
  name: text({ description: 'The user name; it stands in the history of what was done.', kind: 'text' }, userName),
  passwordHash: text(
    { description: 'Hash of the password: `npm start -- hash-password` prints it.', kind: 'scrypt hash' },
    passwordHash,
  ),
});

export const webConsole = section(
  "The operator's pages, and HTTP for Prometheus and health checks (/metrics, /livez, /readyz: figures only, no login). The pages are served once there is a login: users or a token. See docs/console.md.",
  {
    address: orElse(
      text(
        {
          description:
            'IP address to listen on. With a login, another one than 127.0.0.1 or ::1 needs a certificate: passwords and mail never cross a network readable.',
          kind: 'IP address',
        },
        ipAddress,
      ),
      '127.0.0.1',
    ),
    port: orElse(integer('TCP port. 0 takes any that is free and logs which.', 0, 65_535), 8025),
    users: orElse(list('Who may log in with a name and a password.', operator), []),
    token: optional(
      text(
        {
          description: 'A long random text that is a login by itself, for the first look and for scripts (/api/).',
          kind: 'secret',
        },
        consoleToken,
      ),
    ),
    tokenFile: optional(file('File with the token, instead of token.')),
    certificate: optional(certificate('Turns on TLS (https), for /metrics too. Read again when its files change.')),
    hosts: orElse(
      list(
        'Further names that browsers may reach the console by: that of a reverse proxy, or of this machine. Its address, its hostname and localhost are known; any other name is refused (DNS rebinding).',
        text({ description: 'A name without port.', kind: 'host name' }, hostName),
      ),
      [],
    ),
    idleTimeout: orElse(time('A login ends when nothing was asked for so long.', '1m', '1d'), '30m'),
    sessionTimeout: orElse(time('A login ends after so long, whatever is done.', '1m', '30d'), '12h'),
  },
);
