/** An alarm as a mail that does not pass this gateway: plain text, marked so that no program answers it (RFC 3834). */
import type { Channel } from './alarm-channel.ts';
import type { Notice } from './alarm-notice.ts';
import { headline } from './alarm-notice.ts';
import { moment } from './alarm-words.ts';

export interface AlarmMail {
  readonly subject: string;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** @param send hands the mail to a server; rejects with an Error that says what the server answered */
export function mailChannel(name: string, send: (mail: AlarmMail) => Promise<unknown>): Channel {
  return {
    name,
    async send(notice) {
      await send(mailOf(notice));
      return { ok: true };
    },
  };
}

export function mailOf(notice: Notice): AlarmMail {
  const urgent = notice.severity === 'critical' && notice.notice !== 'recovered';
  return {
    subject: headline(notice),
    text: [
      ...notice.lines,
      '',
      `alarm    ${notice.alarm}`,
      `gateway  ${notice.gateway}`,
      `since    ${moment(notice.since)}`,
      '',
    ].join('\n'),
    headers: {
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'All',
      'X-SMTP2Exchange-Alarm': notice.reason,
      ...(urgent ? { Importance: 'high' } : {}),
    },
  };
}
