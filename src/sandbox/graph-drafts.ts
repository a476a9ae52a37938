/**
 * Drafts of the sandbox's Graph and the upload sessions of their attachments. In memory; nothing here fails but by value.
 */
import { randomUUID } from 'node:crypto';
import type { AttachmentItem, FileAttachment, Message } from '@microsoft/microsoft-graph-types';
import type { Submission } from './submission.ts';

export interface Draft {
  readonly mailbox: string;
  /** Undefined: it came as MIME. */
  message: Message | undefined;
  submission: Submission;
  readonly files: FileAttachment[];
}

export interface Session {
  readonly draft: Draft;
  readonly item: AttachmentItem;
  readonly size: number;
  readonly chunks: Buffer[];
  received: number;
}

export interface Slice {
  readonly from: number;
  readonly to: number;
  readonly total: number;
}

const SLICE_LIMIT = 4 * 1024 * 1024;

export class Drafts {
  /** By internal item id. */
  readonly byId = new Map<string, Draft>();
  readonly #sessions = new Map<string, Session>();

  open(draft: Draft, item: AttachmentItem): string {
    const token = randomUUID();
    this.#sessions.set(token, { draft, item, size: item.size ?? 0, chunks: [], received: 0 });
    return token;
  }

  session(token: string): Session | undefined {
    return this.#sessions.get(token);
  }

  /** What came of a slice's octets is kept, also of one that was cut off: a server goes on from there. */
  take(session: Session, token: string, octets: Buffer): 'created' | 'more' {
    session.chunks.push(octets);
    session.received += octets.length;
    if (session.received < session.size) return 'more';
    const { name, contentType, contentId, isInline } = session.item;
    session.draft.files.push({
      name: name ?? '',
      contentType: contentType ?? 'application/octet-stream',
      isInline: isInline ?? false,
      ...(contentId ? { contentId } : {}),
      contentBytes: Buffer.concat(session.chunks).toString('base64'),
    });
    this.#sessions.delete(token);
    return 'created';
  }
}

/** @returns what Content-Range says, or what is wrong with it */
export function sliceOf(field: string | undefined, length: number, session: Session): Slice | string {
  const [, a, b, c] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(field ?? '') ?? [];
  const slice = { from: Number(a), to: Number(b), total: Number(c) };
  if (a === undefined || slice.to - slice.from + 1 !== length || slice.total !== session.size)
    return 'Content-Range does not fit the body or the session.';
  if (length > SLICE_LIMIT) return 'A slice has 4 MB at most.';
  return slice;
}
