/** The ways by which alarms reach people, each loaded where it is configured: the others cost nothing. */
import type { AlarmChannelConfig, ExchangeConfig } from '../config/config.ts';
import type { Http } from '../exchange/http.ts';
import { createHttp } from '../exchange/http.ts';
import { unreachable } from '../mail/status.ts';
import type { Channel } from '../watch/alarm-channel.ts';
import type { Ask } from '../watch/alarm-webhook.ts';
import { httpOptions } from './http-options.ts';

/** Milliseconds a server may take for an alarm. */
const ALARM_TIMEOUT = 20_000;

/** The way out for alarms, made when first needed: past everything that mail needs, but through the same proxy. */
export function askWeb(exchange: ExchangeConfig, undo: (() => Promise<unknown>)[]): Ask {
  let http: Http | undefined;
  undo.push(async () => http?.close());
  return async (request) => {
    http ??= createHttp({ ...httpOptions(exchange), minTls: '1.2', headersTimeout: ALARM_TIMEOUT });
    const answer = await http.request(request);
    answer.discard();
    const retryAfter = answer.headers['retry-after'];
    return { status: answer.status, ...(retryAfter === undefined ? {} : { retryAfter }) };
  };
}

export async function channelOf(channel: AlarmChannelConfig, hostname: string, ask: Ask): Promise<Channel> {
  switch (channel.kind) {
    case 'webhook': {
      const { webhookChannel } = await import('../watch/alarm-webhook.ts');
      return webhookChannel(channel.name, channel.webhook.reveal(), channel.form, ask);
    }
    case 'command': {
      const { commandChannel } = await import('../watch/alarm-command.ts');
      return commandChannel(channel.name, channel.command, channel.environment);
    }
    case 'mail': {
      const { mailChannel } = await import('../watch/alarm-mail.ts');
      const { to, from, host, port } = channel.mail;
      const server = { host, port, name: hostname, tls: 'offered', timeout: ALARM_TIMEOUT } as const;
      return mailChannel(channel.name, async (mail) => {
        // Nodemailer is large: loaded for the first alarm.
        const { sendMail } = await import('../smtp/client.ts');
        return sendMail(server, { ...mail, from, to: [to] });
      });
    }
    default:
      return unreachable(channel);
  }
}
