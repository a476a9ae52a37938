/**
 * An alarm as a POST: JSON of our own, or a message for Microsoft Teams or Slack. The forms are a contract
 * (docs/alarms.md). The address is a secret: whoever knows it can post. It is in no failure.
 *
 * Teams: a Workflows webhook ("Post to a channel when a webhook request is received") takes Adaptive Cards only, see
 * https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using; at most 28 KB.
 * Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks; `&`, `<` and `>` are escaped, so that
 * nothing in a text becomes a mention.
 */
import { unreachable } from '../mail/status.ts';
import type { Channel, Sent } from './alarm-channel.ts';
import type { Notice } from './alarm-notice.ts';
import { headline, noticeJson } from './alarm-notice.ts';
import { moment } from './alarm-words.ts';

export type WebhookForm = 'json' | 'teams' | 'slack';

export interface WebRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** One request, never repeated and never redirected. A failure is an Error whose message names the host at most. */
export type Ask = (request: WebRequest) => Promise<{
  readonly status: number;
  /** Field Retry-After, as it came. */
  readonly retryAfter?: string;
}>;

export function webhookChannel(name: string, url: string, form: WebhookForm, ask: Ask): Channel {
  return {
    name,
    send: (notice, signal) =>
      asked(ask, {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json; charset=utf-8' },
        body: bodyOf(notice, form),
        signal,
      }),
  };
}

/** Any 2xx is a success: Slack answers 200, Teams 202. */
export async function asked(ask: Ask, request: WebRequest): Promise<Sent> {
  try {
    const { status, retryAfter } = await ask(request);
    if (status >= 200 && status < 300) return { ok: true };
    const wait = Number(retryAfter) * 1000;
    return {
      ok: false,
      failure: `${new URL(request.url).host} answered HTTP ${status}`,
      final: status < 500 && ![408, 425, 429].includes(status),
      ...(wait > 0 ? { retryAfter: wait } : {}),
    };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { ok: false, failure: said.replaceAll(request.url, '[address]') };
  }
}

export function bodyOf(notice: Notice, form: WebhookForm): string {
  switch (form) {
    case 'json':
      return noticeJson(notice);
    case 'teams':
      return JSON.stringify(teamsMessage(notice));
    case 'slack':
      return JSON.stringify({ text: slackText(notice) });
    default:
      return unreachable(form);
  }
}

/** Rich text blocks, as these take a text as it is: text blocks read Markdown in it. Version 1.2: what phones show too. */
function teamsMessage(notice: Notice): object {
  const color = { critical: 'attention', warning: 'warning' }[notice.severity];
  const run = (text: string, more: object = {}): object => ({
    type: 'RichTextBlock',
    inlines: [{ type: 'TextRun', text, ...more }],
  });
  return {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        contentUrl: null,
        content: {
          $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
          type: 'AdaptiveCard',
          version: '1.2',
          msteams: { width: 'Full' },
          body: [
            run(headline(notice), {
              weight: 'bolder',
              size: 'medium',
              color: notice.notice === 'recovered' ? 'good' : color,
            }),
            ...notice.lines.map((line) => run(line)),
            run(footer(notice), { isSubtle: true, size: 'small' }),
          ],
        },
      },
    ],
  };
}

function slackText(notice: Notice): string {
  const icon = notice.notice === 'recovered' ? ':white_check_mark:' : ICONS[notice.severity];
  const escape = (text: string): string =>
    text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return [`${icon} *${escape(headline(notice))}*`, ...[...notice.lines, footer(notice)].map(escape)].join('\n');
}

const ICONS = { critical: ':red_circle:', warning: ':large_yellow_circle:' } as const;

function footer({ alarm, since }: Notice): string {
  return `${alarm}, since ${moment(since)}`;
}
