/**
 * A look at a message's content that is safe: its text as text, the list of what is attached, and its HTML as a document
 * of its own that may run nothing and load nothing. Bounded, whatever the message is. What cannot be taken apart is a
 * sentence. An error of the store passes through.
 */
import type { Answer } from './answer.ts';
import { HTML } from './answer.ts';
import { count, octets } from './figures.ts';
import type { Markup } from './markup.ts';
import { markup, shown, shownLines } from './markup.ts';
import { MimeError, readParts } from '../mail/mime.ts';

export interface Attachment {
  readonly name: string;
  readonly type: string;
  /** Decoded octets. */
  readonly size: number;
}

export interface Content {
  readonly text?: string;
  readonly html?: string;
  readonly attachments: readonly Attachment[];
  /** More than are listed. */
  readonly more: number;
  /** Why it, or a part of it, cannot be shown. */
  readonly problem?: string;
}

/** Octets of text that are held. */
const MOST_TEXT = 2_000_000;
/** Characters that are shown. */
const SHOWN_TEXT = 200_000;
const LISTED = 100;

/**
 * Tags that reach out or act without any script: they stay, under names that mean nothing. Links too: a click with Ctrl or
 * the middle button opens them outside of the frame, whatever its sandbox says.
 */
const ACTIVE =
  /<(\/?)(a|area|link|meta|base|script|iframe|frame|frameset|object|embed|applet|portal|form|input|button|audio|video|source|track|template|svg|math|noscript)(?![\w-])/gi;

/** No script, no form, no navigation from inside; nothing is loaded but images that are in the address itself. */
const SANDBOX =
  "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

export async function contentOf(message: AsyncIterable<Uint8Array>): Promise<Content> {
  const attachments: Attachment[] = [];
  let more = 0;
  let body: { readonly text?: string; readonly html?: string } = {};
  try {
    for await (const part of readParts(message, MOST_TEXT)) {
      if (part.kind === 'body') {
        const { text, html } = part;
        body = { ...(text === undefined ? {} : { text }), ...(html === undefined ? {} : { html }) };
        continue;
      }
      let size = 0;
      for await (const chunk of part.content) size += chunk.length;
      if (attachments.length < LISTED) attachments.push({ name: part.name ?? '', type: part.type, size });
      else more++;
    }
  } catch (error) {
    if (!(error instanceof MimeError)) throw error;
    const problem =
      error.trouble === 'text'
        ? 'Its text is too long to be shown here: download the message instead.'
        : 'It cannot be taken apart: download the message instead.';
    return { ...body, attachments, more, problem };
  }
  return { ...body, attachments, more };
}

export function previewPage(id: string, title: string, content: Content): Markup {
  const { text = '', html, attachments, more, problem } = content;
  const isCut = text.length > SHOWN_TEXT;
  return markup`<p class="crumbs"><a href="/messages">Messages</a> <a href="/messages/${id}">The message</a></p>
<h1 class="title">Content: ${shown(title)}</h1>
<p class="quiet">That you looked at it stands in the log. Nothing in it can run, and nothing is loaded from elsewhere.</p>
${problem !== undefined && markup`<p class="flash flash-failed" role="alert" id="preview-problem">${problem}</p>`}
<section aria-labelledby="attachments-title"><h2 id="attachments-title">Attachments</h2>
${
  attachments.length === 0
    ? markup`<p class="quiet">None.</p>`
    : markup`<ul class="plain attachments" id="attachments">${attachments.map(({ name, type, size }) => markup`<li><strong>${name === '' ? 'without a name' : shown(name, 200)}</strong> <span class="quiet">${shown(type, 100)}, ${octets(size)}</span></li>`)}${more > 0 && markup`<li class="quiet">and ${count(more)} more</li>`}</ul>`
}</section>
${
  html !== undefined &&
  markup`<section aria-labelledby="html-title"><h2 id="html-title">HTML</h2><iframe id="html" class="html-part" title="HTML part of the message" sandbox="" referrerpolicy="no-referrer" loading="lazy" src="/messages/${id}/html"></iframe></section>`
}
<section aria-labelledby="text-title"><h2 id="text-title">Text</h2>
${
  text === ''
    ? markup`<p class="quiet">${html === undefined ? 'It has no text.' : 'It has no plain text beside its HTML.'}</p>`
    : markup`<pre class="message-text" id="text" tabindex="0">${shownLines(text.slice(0, SHOWN_TEXT))}</pre>${isCut && markup`<p class="quiet">Cut after ${count(SHOWN_TEXT)} characters.</p>`}`
}</section>`;
}

/** The HTML part as a document of its own. */
export function htmlAnswer({ html, problem }: Content): Answer {
  const body = html ?? problem ?? 'It has no HTML.';
  return {
    status: html === undefined ? 404 : 200,
    type: HTML,
    body: `<!doctype html><meta charset="utf-8"><title>HTML part</title><style>x-script,x-template,x-noscript{display:none}x-a{color:#0b57c2;text-decoration:underline}</style>${defused(body)}`,
    headers: {
      'content-security-policy': SANDBOX,
      'x-frame-options': 'SAMEORIGIN',
    },
  };
}

/** Beside what the policy forbids: some hints (preconnect, dns-prefetch) are no loading for a browser. */
export function defused(html: string): string {
  return html.replace(ACTIVE, '<$1x-$2');
}
