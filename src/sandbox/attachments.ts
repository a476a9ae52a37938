/**
 * The attachments of an item, read from its MIME when somebody asks, and remembered. What cannot be taken apart has none.
 */
import { readParts } from '../mail/mime.ts';
import type { Item } from './store.ts';

export interface Attachment {
  readonly name?: string;
  /** Lower case, without parameters. */
  readonly contentType: string;
  /** Octets. */
  readonly size: number;
  /** Its text shows it. */
  readonly isInline: boolean;
  /** An attached message. */
  readonly isItem: boolean;
}

/** Octets of text that are held. */
const MAX_TEXT = 64 * 1024 * 1024;

const known = new WeakMap<Buffer, Promise<readonly Attachment[]>>();

export async function attachmentsOf({ mime, itemClass }: Item): Promise<readonly Attachment[]> {
  // Exchange keeps signed and encrypted mail as one attachment that holds all of it.
  if (itemClass.startsWith('IPM.Note.SMIME')) {
    const contentType = itemClass === 'IPM.Note.SMIME' ? 'application/pkcs7-mime' : 'multipart/signed';
    return [{ name: 'smime.p7m', contentType, size: mime.length, isInline: false, isItem: false }];
  }
  const found = known.get(mime) ?? takeApart(mime);
  known.set(mime, found);
  return await found;
}

async function takeApart(mime: Buffer): Promise<readonly Attachment[]> {
  const found: (Attachment & { readonly contentId: string | undefined })[] = [];
  let html = '';
  try {
    for await (const part of readParts(piecesOf(mime), MAX_TEXT)) {
      if (part.kind === 'body') {
        html = part.html ?? '';
        continue;
      }
      let size = 0;
      for await (const chunk of part.content) size += chunk.length;
      const { name, type, contentId } = part;
      found.push({
        ...(name === undefined ? {} : { name }),
        contentType: type,
        size,
        isInline: false,
        isItem: type === 'message/rfc822',
        contentId,
      });
    }
  } catch {
    return [];
  }
  return found.map(({ contentId, ...one }) => ({
    ...one,
    isInline: contentId !== undefined && html.includes(`cid:${contentId}`),
  }));
}

/** In pieces, so that what else the sandbox has to do has its turn. */
async function* piecesOf(octets: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < octets.length; at += 256 * 1024) yield octets.subarray(at, at + 256 * 1024);
}
