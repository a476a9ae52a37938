/**
 * What a mailbox holds of an item, asked of Graph: by Message-ID and by the marks that tell apart messages with the same
 * one. Changes nothing; trouble is a value.
 */
import type { Message } from '@microsoft/microsoft-graph-types';
import type { QueueItem } from '../mail/item.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import type { SearchedFolder } from './ews.ts';
import { askGraph } from './graph-call.ts';
import type { GraphFailure, GraphOptions } from './graph-call.ts';
import { MARK_FIELD_PROPERTY, MARK_PROPERTY, READY_PROPERTY } from './graph-message.ts';
import { MAX_PAGES } from './send.ts';

/** A message of ours; `draft`: made by the large path, to be sent by its id. */
export interface Ours {
  readonly id: string;
  readonly kind: 'mime' | 'draft';
  readonly isReady: boolean;
}

export type Found =
  /** `isUnmarked`: a match without any mark, which may be ours where a mailbox lost it. */
  { readonly ok: true; readonly ours: readonly Ours[]; readonly isUnmarked: boolean } | GraphFailure<Delayed | Failed>;

const PAGE = 50;

export async function findInFolder(
  graph: GraphOptions,
  item: Pick<QueueItem, 'id' | 'mailbox' | 'messageId'>,
  folder: SearchedFolder,
  signal: AbortSignal,
): Promise<Found> {
  const ours: Ours[] = [];
  let isUnmarked = false;
  for (let page = 0; page < MAX_PAGES; page++) {
    const result = await askGraph(graph, {
      method: 'GET',
      mailbox: item.mailbox,
      path: `/mailFolders/${folder}/messages?${query(item, page * PAGE)}`,
      success: 200,
      signal,
    });
    if (!result.ok) return result;
    const { value } = result.json as { readonly value?: readonly Message[] };
    if (!Array.isArray(value)) return { ok: false, status: unreadable() };
    for (const message of value as readonly Message[]) {
      const marks = new Map(
        (message.singleValueExtendedProperties ?? []).map(({ id, value: mark }) => [id?.toLowerCase(), mark]),
      );
      const draft = marks.get(MARK_PROPERTY.toLowerCase());
      const mime = marks.get(MARK_FIELD_PROPERTY.toLowerCase());
      if (draft === undefined && mime === undefined) isUnmarked = true;
      if (message.id === undefined || (draft !== item.id && mime !== item.id)) continue;
      const isReady = marks.has(READY_PROPERTY.toLowerCase());
      ours.push({ id: message.id, kind: draft === item.id ? 'draft' : 'mime', isReady });
    }
    if (value.length < PAGE) return { ok: true, ours, isUnmarked };
  }
  // More mail of one Message-ID is no evidence any more.
  return { ok: true, ours, isUnmarked: true };
}

/** A text in a filter (OData 4.01 URL conventions, section 5.1.1.14.1): a quote is doubled. */
function query(item: Pick<QueueItem, 'messageId'>, skip: number): string {
  const text = item.messageId.replaceAll("'", "''");
  const marks = [MARK_PROPERTY, MARK_FIELD_PROPERTY, READY_PROPERTY].map((id) => `id eq '${id}'`).join(' or ');
  const parameters = [
    ['$filter', `internetMessageId eq '${text}'`],
    ['$select', 'id,isDraft'],
    ['$expand', `singleValueExtendedProperties($filter=${marks})`],
    ['$top', String(PAGE)],
    ...(skip === 0 ? [] : [['$skip', String(skip)]]),
  ];
  return parameters.map(([name, value = '']) => `${name}=${encodeURIComponent(value)}`).join('&');
}

function unreadable(): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause: 'unreadable answer',
    text: 'The mail server gave an unexpected answer',
    reason: 'Graph reported success, but the answer to a search could not be read',
  };
}
