/**
 * A message that is too large for one request: saved as a draft, its attachments after it, sent by its id. The message is
 * taken apart twice while it streams: once to measure (a session wants an attachment's size beforehand), once to hand
 * over. Until the last step nothing is sent, and what was begun is deleted again as far as the server can be reached.
 * After the last step an unclear outcome is cleared up by the draft itself: it is one no more once it was sent.
 */
import type { Message, UploadSession } from '@microsoft/microsoft-graph-types';
import { MimeError, readParts } from '../mail/mime.ts';
import type { BodyPart } from '../mail/mime.ts';
import type { HeaderField } from '../mail/header.ts';
import type { Delayed, DeliveryStatus, Failed } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';
import type { Outgoing } from '../mail/transport.ts';
import { askGraph, graphCall } from './graph-call.ts';
import type { GraphOptions, GraphResult } from './graph-call.ts';
import { findInFolder } from './graph-find.ts';
import { graphJson } from './graph-json.ts';
import type { Attached } from './graph-message.ts';
import { attachedAs, attachmentItem, fileAttachment, messageJson, READY_PROPERTY } from './graph-message.ts';
import { upload } from './graph-upload.ts';

export interface DraftOptions {
  readonly graph: GraphOptions;
  readonly carryHeaders: readonly string[];
  /** Octets up to which an attachment goes in one request; a session takes no less. Default 3,000,000. */
  readonly sessionFrom?: number;
  /** Octets of a slice; see graph-upload.ts. */
  readonly slice?: number;
  /** Milliseconds, see graph-upload.ts. */
  readonly pauseFrom?: number;
}

export interface ReadMessage {
  readonly fields: readonly HeaderField[];
  readonly blind: readonly string[];
  /** The message as it is sent, from its first octet. */
  readonly open: () => AsyncIterable<Uint8Array>;
}

/** A session is for 3 to 150 MB (learn.microsoft.com/graph/api/attachment-createuploadsession). */
const SESSION_FROM = 3_000_000;
const MAX_ATTACHMENT = 150 * 1024 * 1024;
/** Octets of text that are held; what a draft can have is decided by MAX_JSON. */
const MAX_TEXT = 6_000_000;
/** Of the JSON of a message without attachments. */
const MAX_JSON = 3_900_000;
const CLEAN_UP = 5_000;
/** A permission that is missing: asked again at this pace, milliseconds. */
const PERMISSION_WAIT = 1_800_000;

export async function sendByDraft(
  options: DraftOptions,
  outgoing: Outgoing,
  message: ReadMessage,
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  const { item } = outgoing;
  const { graph } = options;
  if (item.doubtful || item.attempts > 1 || item.lastStatus !== undefined) {
    const left = await findInFolder(graph, item, 'drafts', signal);
    if (!left.ok) return narrowed(left.status);
    const drafts = left.ours.filter(({ kind }) => kind === 'draft');
    const ready = drafts.find(({ isReady }) => isReady);
    if (ready !== undefined) return await sendDraft(graph, item.mailbox, ready.id, signal);
    for (const { id } of drafts) await remove(graph, item.mailbox, id, signal);
  }
  const measured = await measure(message);
  if ('outcome' in measured) return measured;
  const json = graphJson(
    'message',
    await messageJson({ item, ...message, body: measured.body, carryHeaders: options.carryHeaders }),
  );
  if (Buffer.byteLength(json) > MAX_JSON) return textTooLarge();
  const made = await askGraph(graph, {
    method: 'POST',
    mailbox: item.mailbox,
    path: '/messages',
    body: json,
    success: 201,
    signal,
  });
  if (!made.ok) return narrowed(made.status);
  const { id } = made.json as Message;
  if (id === undefined) throw new Error('Graph made a draft and did not say its id');
  const draft = { mailbox: item.mailbox, path: pathOf(id) };
  const done = { isSent: false };
  try {
    const trouble = (await attachAll(options, draft, message, measured.attached, signal)) ?? (await markReady());
    if (trouble !== undefined) return trouble;
    done.isSent = true;
    const status = await sendDraft(graph, item.mailbox, id, signal);
    // A refusal for good leaves nothing behind.
    if (status.outcome === 'failed') done.isSent = false;
    return status;
  } finally {
    if (!done.isSent && !signal.aborted) await remove(graph, item.mailbox, id, AbortSignal.timeout(CLEAN_UP));
  }

  async function markReady(): Promise<Delayed | Failed | undefined> {
    const ready = { singleValueExtendedProperties: [{ id: READY_PROPERTY, value: item.id }] };
    const body = graphJson('message', ready);
    const marked = await askGraph(graph, { ...draft, method: 'PATCH', body, success: 200, signal });
    return marked.ok ? undefined : marked.status;
  }
}

/** Of a draft, as requests name it. */
interface Place {
  readonly mailbox: string;
  readonly path: string;
}

function pathOf(id: string): string {
  return `/messages/${encodeURIComponent(id)}`;
}

function under({ mailbox, path }: Place, more: string): Place {
  return { mailbox, path: path + more };
}

/** What will be handed over. */
async function measure({
  open,
}: ReadMessage): Promise<{ readonly body: BodyPart; readonly attached: readonly Attached[] } | Failed> {
  const parts: ((html: string) => Attached)[] = [];
  let body: BodyPart = { kind: 'body' };
  try {
    for await (const part of readParts(open(), MAX_TEXT)) {
      if (part.kind === 'body') {
        body = part;
        continue;
      }
      let size = 0;
      for await (const chunk of part.content) size += chunk.length;
      if (size > MAX_ATTACHMENT) return attachmentTooLarge(size);
      const index = parts.length;
      parts.push((html) => attachedAs(part, size, html, index));
    }
  } catch (error) {
    if (!(error instanceof MimeError)) throw error;
    return error.trouble === 'text' ? textTooLarge() : notTakenApart(error);
  }
  const html = body.html ?? '';
  return { body, attached: parts.map((one) => one(html)) };
}

async function attachAll(
  options: DraftOptions,
  draft: Place,
  { open }: ReadMessage,
  attached: readonly Attached[],
  signal: AbortSignal,
): Promise<Delayed | Failed | undefined> {
  let index = 0;
  for await (const part of readParts(open(), MAX_TEXT)) {
    if (part.kind === 'body') continue;
    const what = attached[index++];
    if (what === undefined) throw new Error('a message has more parts than were measured');
    const trouble =
      what.size < (options.sessionFrom ?? SESSION_FROM)
        ? await attachWhole(options.graph, draft, what, part.content, signal)
        : await attachBySession(options, draft, { what, index }, part.content, signal);
    if (trouble !== undefined) return trouble;
  }
  return undefined;
}

async function attachWhole(
  graph: GraphOptions,
  draft: Place,
  what: Attached,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Delayed | Failed | undefined> {
  const body = graphJson('attachment', fileAttachment(what, await inBase64(content)));
  const made = await askGraph(graph, { ...under(draft, '/attachments'), method: 'POST', body, success: 201, signal });
  return made.ok ? undefined : made.status;
}

async function attachBySession(
  { graph, slice, pauseFrom }: DraftOptions,
  draft: Place,
  { what, index }: { readonly what: Attached; readonly index: number },
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Delayed | Failed | undefined> {
  const session = await askGraph(graph, {
    ...under(draft, '/attachments/createUploadSession'),
    method: 'POST',
    body: graphJson('uploadSession', { AttachmentItem: attachmentItem(what) }),
    success: 201,
    signal,
  });
  if (!session.ok) return session.status;
  const { uploadUrl } = session.json as UploadSession;
  if (typeof uploadUrl !== 'string' || !isSafe(uploadUrl)) {
    throw new Error('Graph gave an upload session without an address that begins with https://');
  }
  const result = await upload(
    content,
    {
      http: graph.http,
      uploadUrl,
      size: what.size,
      userAgent: `smtp2exchange/${graph.version}`,
      ...(slice === undefined ? {} : { slice }),
      ...(pauseFrom === undefined ? {} : { pauseFrom }),
    },
    signal,
  );
  if (result.ok) return undefined;
  if (result.status !== 'gone') return result.status;
  const listed = await askGraph(graph, {
    ...under(draft, '/attachments?$select=id,name,size&$top=999'),
    method: 'GET',
    success: 200,
    signal,
  });
  if (!listed.ok) return listed.status;
  const { value } = listed.json as { readonly value?: readonly unknown[] };
  return value?.length === index ? undefined : sessionLost();
}

/** Mail goes to wherever the session is, so not unprotected, but for a server on this machine. */
function isSafe(url: string): boolean {
  const { protocol, hostname } = URL.parse(url) ?? {};
  return protocol === 'https:' || (protocol === 'http:' && /^(?:127\.|localhost$|\[::1\]$)/.test(hostname ?? ''));
}

async function sendDraft(
  graph: GraphOptions,
  mailbox: string,
  id: string,
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  const path = pathOf(id);
  const result = await graphCall(graph, {
    method: 'POST',
    mailbox,
    path: `${path}/send`,
    success: 202,
    sends: true,
    signal,
  });
  if (result.ok) return accepted(result);
  const { status } = result;
  // Not found, or no draft: it may have been sent before. Its id stays, so it can be asked.
  const isTold = status.outcome !== 'unknown' && result.http !== 404 && result.http !== 409 && result.http !== 400;
  if (isTold || signal.aborted) return status.outcome === 'delayed' ? narrowed(status) : status;
  const asked = await askGraph(graph, {
    method: 'GET',
    mailbox,
    path: `${path}?$select=id,isDraft`,
    success: 200,
    signal,
  });
  if (asked.ok && (asked.json as Message).isDraft === false) {
    return {
      outcome: 'relayed',
      code: '2.0.0',
      cause: 'sent draft found',
      text: 'Accepted by Exchange',
      ids: asked.ids,
    };
  }
  if (status.outcome !== 'unknown' && result.http === 404) {
    const { cause, text, reason } = status;
    return { outcome: 'unknown', code: '4.4.7', cause, text, ...(reason === undefined ? {} : { reason }) };
  }
  return status;
}

export function accepted({ ids }: Extract<GraphResult, { ok: true }>): DeliveryStatus {
  return { outcome: 'relayed', code: '2.0.0', cause: 'HTTP 202', text: 'Accepted by Exchange', ids };
}

/** Best effort: what stays is a draft that nobody sends. */
async function remove(graph: GraphOptions, mailbox: string, id: string, signal: AbortSignal): Promise<void> {
  const path = pathOf(id);
  await askGraph(graph, { method: 'DELETE', mailbox, path, success: 204, signal });
}

/** A permission that only large mail needs holds up no small mail. */
function narrowed(status: Delayed | Failed): Delayed | Failed {
  return status.outcome === 'delayed' && isPermission(status)
    ? { ...status, reach: 'message', retryAfter: PERMISSION_WAIT }
    : status;
}

/** The application lacks a permission for this, by Graph's own word. */
export function isPermission(status: Delayed | Failed): boolean {
  return (
    status.outcome === 'delayed' && status.code === MISCONFIGURED && /AccessDenied|RequestDenied/i.test(status.cause)
  );
}

export async function inBase64(content: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('base64');
}

function tooLarge(reason: string, text: string): Failed {
  return { outcome: 'failed', code: '5.3.4', cause: 'too large for Graph', text, reason };
}
function attachmentTooLarge(size: number): Failed {
  return tooLarge(
    `An attachment has ${size} octets; Graph takes 150 MB at most`,
    'An attachment is too large for the mail server',
  );
}
function textTooLarge(): Failed {
  return tooLarge(
    'The text of the message is over 3 MB, and Graph takes text in one request of 4 MB only; EWS and SMTP have no such limit',
    'The text of the message is too large for the mail server',
  );
}
export function sealedTooLarge(size: number): Failed {
  return tooLarge(
    `A signed or encrypted message of ${size} octets: it has to stay one piece, and Graph takes 3 MB in one piece; EWS and SMTP have no such limit`,
    'A signed or encrypted message of this size cannot be passed to the mail server; send it smaller, or unsigned',
  );
}
function notTakenApart(error: MimeError): Failed {
  const more = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return {
    outcome: 'failed',
    code: '5.6.0',
    cause: 'MIME not readable',
    text: 'The message cannot be read',
    reason: `The message is over 3 MB and has to be taken apart for Graph, which its MIME does not allow${more}`,
  };
}
function sessionLost(): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause: 'upload session lost',
    text: 'The mail server is temporarily unable to take the message',
    reason: 'Graph ended an upload, and the attachment is not there; it begins anew with the next try',
  };
}
