/**
 * The part of the control API that is about one mailbox: mail put into it from outside, and what lies in its folders. A bad
 * request gets a sentence and changes nothing.
 */
import type { IncomingMessage } from 'node:http';
import type { IncomingMail } from './incoming.ts';
import type { Mailboxes } from './mailboxes.ts';
import type { FolderView, MailboxStore } from './store.ts';

export interface ControlAnswer {
  readonly status: number;
  readonly value: unknown;
}

/** Octets of a mail; more than Exchange Online takes. */
const MAIL_LIMIT = 160 * 1024 * 1024;

const PARAMETERS: Readonly<Record<string, RegExp>> = {
  folder: /./,
  itemClass: /^IPM\.|^REPORT\./,
  broken: /^(mime|item)$/,
  read: /^(true|false)$/,
};

/** @returns undefined: the path is none of a mailbox */
export async function controlMailbox(
  path: string,
  request: IncomingMessage,
  mailboxes: Mailboxes,
): Promise<ControlAnswer | undefined> {
  const [, name = '', action] = /^\/control\/mailboxes\/([^/]+)(?:\/(receive))?$/.exec(path) ?? [];
  const wanted = action === undefined ? 'GET' : 'POST';
  if (name === '' || request.method !== wanted) return undefined;
  const address = decoded(name);
  const mailbox = mailboxes.find(address);
  if (!mailbox) return { status: 404, value: { error: `there is no mailbox ${address}` } };
  if (action === undefined) return { status: 200, value: shownMailbox(mailbox) };
  const query = new URL(request.url ?? '/', 'https://sandbox.invalid').searchParams;
  for (const [key, value] of query) {
    const allowed = Object.hasOwn(PARAMETERS, key) ? PARAMETERS[key] : undefined;
    if (!allowed) return bad(`unknown: ${key}; known are ${Object.keys(PARAMETERS).join(', ')}`);
    if (!allowed.test(value)) return bad(`${key} cannot be ${JSON.stringify(value)}`);
  }
  const mime = await octetsOf(request);
  if (mime === undefined) return bad(`the mail has more than ${MAIL_LIMIT} octets`);
  if (mime.length === 0) return bad('the body is the mail, and there is none');
  const { id, searchKey, messageId } = await mailboxes.receive(mailbox.address, { mime, ...wishOf(query) });
  return { status: 201, value: { id, searchKey, messageId } };
}

function wishOf(query: URLSearchParams): Omit<IncomingMail, 'mime'> {
  const [folder, itemClass, broken] = [query.get('folder'), query.get('itemClass'), query.get('broken')];
  return {
    ...(folder === null ? {} : { folder }),
    ...(itemClass === null ? {} : { itemClass }),
    ...(broken === 'mime' || broken === 'item' ? { broken } : {}),
    isRead: query.get('read') === 'true',
  };
}

function shownMailbox(mailbox: MailboxStore): object {
  return {
    address: mailbox.address,
    folders: mailbox.folders
      .filter(({ parent }) => parent !== '')
      .map((folder) => ({
        path: pathOf(folder, mailbox),
        ...(folder.wellKnown === undefined ? {} : { wellKnown: folder.wellKnown }),
        items: folder.items.map(({ id, searchKey, messageId, subject, from, itemClass, isRead, mime }) => ({
          id,
          searchKey,
          messageId,
          subject,
          from,
          itemClass,
          read: isRead,
          size: mime.length,
        })),
      })),
  };
}

function pathOf({ displayName, parent }: FolderView, mailbox: MailboxStore): string {
  const above = mailbox.known(parent);
  return above === undefined || above.parent === '' ? displayName : `${pathOf(above, mailbox)}/${displayName}`;
}

/** Read to its end even if it is too large, so that the refusal is heard. */
async function octetsOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAIL_LIMIT) chunks.push(chunk);
  }
  return size > MAIL_LIMIT ? undefined : Buffer.concat(chunks);
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function bad(error: string): ControlAnswer {
  return { status: 400, value: { error } };
}
