/** The settings of one listener, with their limits, their defaults and what they do. */
import { certificate, networks, octets, patterns, plainName, time } from './kinds.ts';
import { ipAddress } from './network.ts';
import { choice, flag, integer, optional, orElse, section, text } from './schema.ts';

export const listener = section('One address and port that takes mail.', {
  name: plainName('Name in logs, metrics and the Received field.'),
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
  certificate: optional(
    certificate(
      'The certificate of this listener, read again when its files change. Needed if tls is required or implicit; if it is optional, one is made and kept beside the spool, or in spool.folder.',
    ),
  ),
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
    networks(
      'Networks whose clients may connect; unless auth is required, they send without login. Name your own networks: what would be an open relay is refused.',
      1,
    ),
    ['127.0.0.0/8', '::1/128'],
  ),
  loginFrom: orElse(networks('Networks whose clients may connect too, but must log in before they send.', 0), []),
  lenient: orElse(
    flag('Tolerates what old devices send: missing angle brackets, odd HELO names, bare LF in messages, and more.'),
    true,
  ),
  lfEndOfData: orElse(
    flag(
      'Lets a dot between two bare LF end a message, for devices that know no CRLF; the connection takes no further message then. Needs lenient and clients that are known by their address.',
    ),
    false,
  ),
  proxyProtocol: orElse(
    networks(
      'Load balancers whose connections begin with a PROXY header, which is believed. Nobody else may send one.',
      0,
    ),
    [],
  ),
  senders: optional(
    patterns(
      'Addresses that may send here, of the envelope and of From and Sender; in addition to the other limits.',
      1,
    ),
  ),
  recipients: optional(patterns('Addresses that may be sent to from here; in addition to the other limits.', 1)),
  maxMessageSize: orElse(
    octets("Largest message, announced as SIZE. Exchange's own default is 35 MiB.", '1KB', '1GiB'),
    '35MiB',
  ),
  maxHeaderSize: orElse(octets('Largest header block of a message.', '1KB', '4MiB'), '256KiB'),
  maxConnections: orElse(integer('Connections at the same time.', 1, 10_000), 100),
  maxConnectionsPerAddress: orElse(integer('Connections at the same time from one client address.', 1, 10_000), 50),
  maxRecipients: orElse(integer("Recipients of one message. Exchange's own default is 500.", 1, 10_000), 500),
  maxMessages: orElse(integer('Messages of one connection; for more, the client connects anew.', 1, 1_000_000), 10_000),
  maxErrors: orElse(integer('Refused commands, after which a connection is ended (421).', 1, 1_000), 20),
  idleTimeout: orElse(
    time('How long a client may be silent (RFC 5321 section 4.5.3.2.7: 5 minutes).', '1s', '1h'),
    '5m',
  ),
  sessionTimeout: orElse(time('How long a connection may last, however busy it is.', '1m', '30d'), '1d'),
  minDataRate: orElse(
    octets('Octets a second, averaged over a minute, that a message must arrive with. 0B: any.', '0B', '1MB'),
    '100B',
  ),
  maxHops: orElse(integer('Received fields after which a message is refused as looping.', 1, 1_000), 50),
});
