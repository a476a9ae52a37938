/** The settings of alarms: when there is one, and who is told how. */
import { mailbox } from './addresses.ts';
import { commandWord, plainName, secretUrl, time } from './kinds.ts';
import { serverName } from './network.ts';
import { choice, integer, list, optional, orElse, section, text } from './schema.ts';

const mail = section('Mail past this gateway: to a server that takes it from here without login.', {
  to: text({ description: 'Who is told.', kind: 'e-mail address' }, mailbox),
  from: optional(text({ description: 'The sender.', kind: 'e-mail address', otherwise: 'senders.mailbox' }, mailbox)),
  host: text(
    { description: 'The server. No listener of this gateway.', kind: 'domain name or IP address' },
    serverName,
  ),
  port: orElse(integer('Its TCP port.', 1, 65_535), 25),
});

const channel = section('Who is told of an alarm: one of webhook, command and mail.', {
  name: plainName('Name in logs.'),
  webhook: optional(secretUrl('Address that the alarm is posted to. http:// on loopback only.')),
  form: orElse(
    choice('What is posted to the webhook: json, or what Microsoft Teams or Slack show as a message.', [
      'json',
      'teams',
      'slack',
    ]),
    'json',
  ),
  command: optional(
    list(
      'A program, by its path or its name in PATH, and its arguments. No shell. It gets the alarm in its environment and its standard input.',
      text({ description: 'A word of the command.', kind: 'text' }, commandWord),
      1,
    ),
  ),
  mail: optional(mail),
});

export const alarms = section('Trouble that somebody must know of, and that it is over.', {
  to: orElse(list('Who is told, each in one way. Without any, alarms show in log and metrics only.', channel), []),
  repeat: orElse(time('How long after a notice the next one follows, while the trouble lasts.', '1s', '30d'), '4h'),
  oldestAfter: orElse(time('Age of the oldest waiting message that is an alarm.', '1s', '30d'), '1h'),
  expiresWithin: orElse(time('Time left to a client secret or certificate that is an alarm.', '1h', '3650d'), '14d'),
  heartbeat: optional(
    section('A sign of life for a service that raises the alarm when it stays away.', {
      url: secretUrl('Address that is asked for (GET). http:// on loopback only.'),
      every: orElse(time('How often.', '1s', '1d'), '5m'),
    }),
  ),
});
