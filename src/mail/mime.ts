/**
 * A MIME message taken apart while it streams: attachments one after the other with their decoded octets, then the text.
 * The only file that knows mailparser. Nothing is held but the text, up to a limit, and a chunk of what is under way.
 * Fails with MimeError for a message that cannot be taken apart; an error of the message's own reader passes through.
 */
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { MailParser, parseAddressHeader } from 'mailparser';
import { collectGarbage } from './collect.ts';

export interface AttachedPart {
  readonly kind: 'attachment';
  /** As the part says it, cleaned of control characters; absent if it has none. */
  readonly name?: string;
  /** Lower case, without parameters. */
  readonly type: string;
  /** Without its angle brackets. */
  readonly contentId?: string;
  /** Decoded octets. Read at most once, before the next part is asked for; what is not read is passed over. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** The last part: all text that is no attachment. At most one of the alternatives is absent, or both of a message without text. */
export interface BodyPart {
  readonly kind: 'body';
  readonly text?: string;
  readonly html?: string;
}

/** What a message is not taken apart for. `text`: its text is over the limit; `structure`: it has too many parts or the like. */
export class MimeError extends Error {
  override readonly name = 'MimeError';
  readonly trouble: 'text' | 'structure';
  constructor(trouble: MimeError['trouble'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.trouble = trouble;
  }
}

/** The mailboxes of an address field's value (RFC 5322 section 3.4), groups flattened, domains as written. */
export function readAddressList(value: string): readonly { readonly name: string; readonly address?: string }[] {
  return parseAddressHeader(value, { flatten: true, decodePunycode: false }).value;
}

/** Encoded words (RFC 2047) of a text field decoded. @param value the field's value */
export async function decodeWords(value: string): Promise<string> {
  return await new Promise((resolve) => {
    const parser = new MailParser();
    parser.once('headers', (headers) => {
      const subject = headers.get('subject');
      resolve(typeof subject === 'string' ? subject : value);
    });
    parser.once('error', () => resolve(value));
    // As UTF-8, whatever it came as: Latin-1 beside encoded words would be lost.
    parser.end(`Subject: ${value}\r\n\r\n`);
  });
}

/** Octets after which what the parser has left over is collected: some thirty milliseconds for each. */
const COLLECTED = 8 * 1024 * 1024;
/** Octets handed to the parser at once: what it keeps of them is small then. */
const PIECE = 64 * 1024;

/**
 * Attached messages (message/rfc822) and delivery reports are attachments, like anything but text.
 * @param maxText octets of text, as transferred, that are held; give or take some 1.5 MB that wait inside the parser, so it
 *   bounds memory and is no exact limit
 */
export async function* readParts(
  message: AsyncIterable<Uint8Array>,
  maxText: number,
): AsyncGenerator<AttachedPart | BodyPart> {
  const parser = new MailParser({
    // Nobody asked for text made of HTML, for checksums or for links in text.
    skipHtmlToText: true,
    skipTextLinks: true,
    checksumAlgo: false,
    ignoreEmbedded: true,
    keepDeliveryStatus: true,
  });
  const state: { open: Readable | undefined; failure: unknown } = { open: undefined, failure: undefined };
  const fail = (error: unknown): void => {
    state.failure ??= error;
    const known = error instanceof Error ? error : new Error(String(error));
    state.open?.destroy(known);
    parser.destroy(known);
  };
  parser.on('error', (error) =>
    fail(state.failure ?? new MimeError('structure', 'the message cannot be taken apart', { cause: error })),
  );
  const feeding = feed(parser, message, () => state.open === undefined, maxText).catch(fail);
  try {
    for await (const part of parser) {
      if (part.type === 'text') {
        const { text, html } = part;
        yield { kind: 'body', ...(text === undefined ? {} : { text }), ...(html === undefined ? {} : { html }) };
        continue;
      }
      const { content } = part;
      state.open = content;
      // Whoever has stopped reading must not be hit by what happens to it afterwards.
      content.on('error', () => {});
      const name = clean(part.filename ?? '');
      const contentId = clean(part.cid ?? '');
      yield {
        kind: 'attachment',
        type: (part.contentType ?? 'application/octet-stream').toLowerCase(),
        ...(name === '' ? {} : { name }),
        ...(contentId === '' ? {} : { contentId }),
        content: content as AsyncIterable<Uint8Array>,
      };
      if (!content.readableEnded && !content.destroyed) {
        content.resume();
        await once(content, 'end');
      }
      state.open = undefined;
      part.release?.();
    }
  } catch (error) {
    throw state.failure ?? error;
  } finally {
    state.failure ??= new Error('the reader stopped');
    parser.destroy();
    await feeding;
  }
}

async function feed(
  parser: MailParser,
  message: AsyncIterable<Uint8Array>,
  isText: () => boolean,
  maxText: number,
): Promise<void> {
  let text = 0;
  let since = 0;
  for await (const chunk of message) {
    since += chunk.length;
    if (since > COLLECTED) {
      since = 0;
      collectGarbage();
    }
    for (let at = 0; at < chunk.length; at += PIECE) {
      const piece = chunk.subarray(at, at + PIECE);
      if (isText()) text += piece.length;
      if (text > maxText) throw new MimeError('text', `the text of the message has more than ${maxText} octets`);
      // A copy: the parser may keep a part of it beyond its turn.
      await write(parser, Buffer.from(piece));
      if (parser.destroyed) return;
    }
  }
  parser.end();
}

/** Settles when the parser has taken the piece, or is no more. */
async function write(parser: MailParser, piece: Buffer): Promise<void> {
  await new Promise<void>((resolve) => {
    const onClose = (): void => resolve();
    parser.once('close', onClose);
    parser.write(piece, () => {
      parser.off('close', onClose);
      resolve();
    });
  });
}

function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\s]+/gu, ' ').trim();
}
