/**
 * A message as files: its text, its attachments under safe names, and the side-file that tells what is what. Memory holds
 * the text only. Fails with MimeError, TooManyParts, what TreeWriter fails with, and the message reader's own errors.
 */
import { join } from 'node:path';
import { readParts } from '../mail/mime.ts';
import type { Facts } from './facts.ts';
import { FileNames, safeFileName } from './file-name.ts';
import type { TreeWriter, WrittenFile } from './file-writer.ts';

/** Files of one message. */
export const MAX_PARTS = 500;
/** Characters of a name as its sender wrote it. */
const MAX_NAME = 1_000;
const TEXT = 'message.txt';
const HTML = 'message.html';
export const SIDE_FILE = 'message.json';

export class TooManyParts extends Error {
  override readonly name = 'TooManyParts';
}

/** An attachment as the side-file has it. */
interface Attachment extends WrittenFile {
  readonly file: string;
  /** As its sender wrote it. */
  readonly name?: string;
  readonly type: string;
  readonly contentId?: string;
}

interface PartsOptions {
  readonly writer: TreeWriter;
  /** An empty folder. */
  readonly folder: string;
  readonly facts: Facts;
  readonly maxText: number;
  readonly signal: AbortSignal;
}

export async function writeParts(
  { writer, folder, facts, maxText, signal }: PartsOptions,
  message: AsyncIterable<Uint8Array>,
): Promise<void> {
  const names = new FileNames([TEXT, HTML, SIDE_FILE, 'message.eml']);
  const attachments: Attachment[] = [];
  const body: { text?: object; html?: object } = {};
  const write = async (file: string, text: string): Promise<object> => ({
    file,
    ...(await writer.file(join(folder, file), [Buffer.from(text)], signal)),
  });
  for await (const part of readParts(message, maxText)) {
    if (part.kind === 'body') {
      if (part.text !== undefined) body.text = await write(TEXT, part.text);
      if (part.html !== undefined) body.html = await write(HTML, part.html);
      continue;
    }
    if (attachments.length === MAX_PARTS) throw new TooManyParts(`the message has more than ${MAX_PARTS} attachments`);
    const wanted = safeFileName(part.name ?? '', part.type);
    const { file, ...written } = await writeNew(names, wanted, (name) =>
      writer.file(join(folder, name), part.content, signal),
    );
    attachments.push({
      file,
      ...(part.name === undefined ? {} : { name: [...part.name].slice(0, MAX_NAME).join('') }),
      type: part.type,
      ...(part.contentId === undefined ? {} : { contentId: part.contentId }),
      ...written,
    });
  }
  await writer.json(join(folder, SIDE_FILE), { ...facts, ...body, attachments });
}

/** Some file systems see one name in two. Nothing of the content was read then. */
async function writeNew(
  names: FileNames,
  wanted: string,
  write: (name: string) => Promise<WrittenFile>,
): Promise<WrittenFile & { readonly file: string }> {
  for (let tries = 1; ; tries++) {
    const file = names.take(wanted);
    try {
      return { file, ...(await write(file)) };
    } catch (error) {
      if (tries > MAX_PARTS || !(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  }
}
