/**
 * The transport to Exchange Online by Microsoft Graph, with the envelope as the law (mail/recipients.ts). Promises of
 * Transport: one attempt, expected trouble is a value; nothing is kept in memory but the header block, and of a large
 * message its text and one slice.
 *
 * - Up to the limit of one request the message goes as MIME through sendMail, streamed as base64; blind recipients in a
 *   Bcc field at its head, which Graph honours and removes. A copy is always kept: this call knows no other way.
 * - Without a copy (saveToSentItems: false) it goes as JSON, which can say so.
 * - What is larger goes as a draft with upload sessions (graph-draft.ts).
 *
 * Looking after an unclear outcome works as with EWS (send.ts): by Message-ID and mark, in Drafts, Outbox, Sent Items.
 * A draft of the large path that lies in Drafts was not sent: the next attempt goes on with it.
 */
import { headerField, joinHeader, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import { asciiAddress, isSendable } from '../mail/address.ts';
import type { QueueItem } from '../mail/item.ts';
import { MimeError, readParts } from '../mail/mime.ts';
import type { BodyPart } from '../mail/mime.ts';
import { applyEnvelope } from '../mail/recipients.ts';
import { SpoolError } from '../mail/spool.ts';
import {
  headerTooLarge,
  MAX_HEADER_SIZE,
  PRECIOUS_FIELD,
  readHeader,
  replaceHeader,
  SizeMismatch,
  unreadable,
} from '../mail/stored.ts';
import type { DeliveryStatus, Verification } from '../mail/status.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { base64, base64Length } from './base64.ts';
import { FOLDERS } from './ews.ts';
import type { FolderName } from './ews.ts';
import { graphCall } from './graph-call.ts';
import { accepted, inBase64, isPermission, sealedTooLarge, sendByDraft } from './graph-draft.ts';
import type { DraftOptions, ReadMessage } from './graph-draft.ts';
import { findInFolder } from './graph-find.ts';
import { graphJson } from './graph-json.ts';
import type { GraphJson } from './graph-json.ts';
import { foundSent, heldBack, refusedLook } from './looked.ts';
import { attachedAs, fileAttachment, isSealed, MARK_FIELD, messageJson } from './graph-message.ts';
import { aborted } from './send.ts';
import { unusableRecipient } from './unusable.ts';

export interface GraphTransportOptions extends Omit<DraftOptions, 'carryHeaders'> {
  readonly saveToSentItems: boolean;
  /** As with EWS; only for what goes as JSON. In MIME they are there anyway. */
  readonly carryHeaders?: readonly string[];
  /** Octets of a request with a whole message, default 4,000,000 (Graph: 4 MB). */
  readonly maxRequest?: number;
}

const MAX_REQUEST = 4_000_000;

export function graphTransport(options: GraphTransportOptions): Transport {
  return {
    name: 'graph',
    deliver: (outgoing, signal) => deliver(options, outgoing, signal),
    verify: ({ item }, signal) => verify(options, item, signal),
    // The connections belong to whoever made them.
    close: async () => {},
  };
}

async function deliver(
  options: GraphTransportOptions,
  outgoing: Outgoing,
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  const { item } = outgoing;
  const { maxRequest = MAX_REQUEST, saveToSentItems } = options;
  if (signal.aborted) return aborted();
  if (item.headerSize > MAX_HEADER_SIZE) return headerTooLarge(item.headerSize, MAX_HEADER_SIZE);
  try {
    const { fields, blind } = applyEnvelope(
      splitHeader(await readHeader(outgoing)).filter(({ name }) => name !== PRECIOUS_FIELD),
      item.envelope.recipients.map(({ address }) => address),
    );
    if (!blind.every(isSendable)) return unusableRecipient();
    const header = joinHeader(withOurs(fields, item, blind));
    const length = header.length + item.size - item.headerSize;
    const isSmall = base64Length(length) <= maxRequest;
    const message = { fields, blind, open: () => replaceHeader(joinHeader(fields), outgoing) };
    const sealed = isSealed(fields);
    if (!isSmall) {
      if (sealed) return sealedTooLarge(length);
      const carryHeaders = options.carryHeaders ?? [];
      return await sendByDraft({ ...options, carryHeaders }, outgoing, message, signal);
    }
    const json = saveToSentItems || sealed ? undefined : await asJson(options, item, message, maxRequest);
    const result = await graphCall(options.graph, {
      method: 'POST',
      mailbox: item.mailbox,
      path: '/sendMail',
      success: 202,
      sends: true,
      signal,
      ...(json === undefined
        ? {
            contentType: 'text/plain',
            body: { length: base64Length(length), open: () => base64(replaceHeader(header, outgoing)) },
          }
        : { body: json }),
    });
    return result.ok ? accepted(result) : result.status;
  } catch (error) {
    if (error instanceof SpoolError || error instanceof SizeMismatch) return unreadable(error);
    throw error;
  }
}

/** Our mark and the blind recipients, before everything else. */
function withOurs(fields: readonly HeaderField[], item: QueueItem, blind: readonly string[]): HeaderField[] {
  return [
    headerField(MARK_FIELD, item.id),
    ...(blind.length === 0 ? [] : [headerField('Bcc', blind.map(asciiAddress).join(', '))]),
    // One that came with the message is another gateway's.
    ...fields.filter(({ name }) => name !== MARK_FIELD.toLowerCase()),
  ];
}

/** The whole message in one request that keeps no copy. @returns undefined for one that has to go as MIME after all */
async function asJson(
  { carryHeaders = [] }: GraphTransportOptions,
  item: QueueItem,
  { fields, blind, open }: ReadMessage,
  maxRequest: number,
): Promise<GraphJson | undefined> {
  const files: ((html: string) => ReturnType<typeof fileAttachment>)[] = [];
  let body: BodyPart = { kind: 'body' };
  try {
    for await (const part of readParts(open(), maxRequest)) {
      if (part.kind === 'body') {
        body = part;
        continue;
      }
      const content = await inBase64(part.content);
      const size = Buffer.byteLength(content, 'base64');
      const index = files.length;
      files.push((html) => fileAttachment(attachedAs(part, size, html, index), content));
    }
  } catch (error) {
    if (error instanceof MimeError) return undefined;
    throw error;
  }
  const html = body.html ?? '';
  const message = {
    ...(await messageJson({ item, fields, blind, body, carryHeaders })),
    ...(files.length === 0 ? {} : { attachments: files.map((one) => one(html)) }),
  };
  const json = graphJson('sendMail', { message, saveToSentItems: false });
  return Buffer.byteLength(json) <= maxRequest ? json : undefined;
}

async function verify(
  { graph, saveToSentItems }: GraphTransportOptions,
  item: QueueItem,
  signal: AbortSignal,
): Promise<Verification> {
  const held: FolderName[] = [];
  let isUnmarked = false;
  let hasDraft = false;
  for (const folder of FOLDERS) {
    const found = await findInFolder(graph, item, folder, signal);
    if (!found.ok) {
      const { status } = found;
      // Sending is allowed and looking is not: that is a choice some make, and nothing to hold mail for.
      if (isPermission(status)) return { outcome: 'unknowable', reason: status.reason ?? status.text };
      return status.outcome === 'delayed' ? status : refusedLook(status);
    }
    const { ours } = found;
    if (folder === 'sentitems' && ours.length > 0) return foundSent();
    if (ours.some(({ kind }) => kind === 'draft') && folder === 'drafts') hasDraft = true;
    else if (ours.length > 0) held.push(folder);
    if (found.isUnmarked) isUnmarked = true;
  }
  if (held.length > 0) return heldBack(held);
  if (hasDraft) return { outcome: 'absent' };
  if (isUnmarked) {
    return {
      outcome: 'unknowable',
      reason: 'the mailbox holds a message with this Message-ID that does not say whether it came from this item',
    };
  }
  if (!saveToSentItems) {
    return {
      outcome: 'unknowable',
      reason: 'no copy is kept in Sent Items (saveToSentItems: false), so Graph cannot be asked whether it was sent',
    };
  }
  return { outcome: 'absent' };
}

/** What an operator who wants no copies has to know at the start. */
export const COPIES_ARE_KEPT =
  'Graph keeps a copy in Sent Items of mail above 3 MB and of signed or encrypted mail whatever saveToSentItems says; other mail is handed over taken apart (JSON) because of saveToSentItems: false, which Exchange writes anew more freely than MIME';
