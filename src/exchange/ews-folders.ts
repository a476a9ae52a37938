/**
 * Finds the folders of a mailbox by their paths over EWS, and makes those that may be made. Promises of mailbox.ts: a
 * missing one is Failed and named, everything else that goes wrong is what the server said. Nothing is kept between two
 * calls, because people rename folders.
 */
import type { Delayed, Failed } from '../mail/status.ts';
import { harmless } from './call.ts';
import type { CallResult } from './call.ts';
import { foldersIn } from './ews-item.ts';
import type { FoundFolder } from './ews-item.ts';
import { FOLDER_PAGE } from './mailbox-calls.ts';
import type { DistinguishedFolder, MailboxCalls } from './mailbox-calls.ts';
import type { FolderIds, Got } from './mailbox.ts';
import { unreadableAnswer } from './unusable.ts';

const WELL_KNOWN: Readonly<Record<string, DistinguishedFolder>> = {
  inbox: 'inbox',
  archive: 'archive',
  drafts: 'drafts',
  sentitems: 'sentitems',
  deleteditems: 'deleteditems',
  junkemail: 'junkemail',
};
const UNKNOWN_NAME = new Set(['ErrorSchemaValidation', 'ErrorInvalidRequest', 'SOAP fault', 'HTTP 400']);
/** Pages of one folder's children that are looked through. */
const MAX_PAGES = 20;

type Found = Got<{ readonly id: string | undefined }>;

export async function findFolders(
  calls: MailboxCalls,
  mailbox: string,
  {
    paths,
    make,
    signal,
  }: { readonly paths: readonly string[]; readonly make: readonly string[]; readonly signal: AbortSignal },
): Promise<Got<{ readonly ids: FolderIds }>> {
  const finder = new FolderFinder(calls, mailbox, signal);
  const ids = new Map<string, string>();
  for (const path of paths) {
    const found = await finder.find(path, make.includes(path));
    if (!found.ok) return found;
    if (found.id === undefined) return { ok: false, status: notFound(mailbox, path) };
    ids.set(path, found.id);
  }
  return { ok: true, ids };
}

class FolderFinder {
  readonly #calls: MailboxCalls;
  readonly #mailbox: string;
  readonly #signal: AbortSignal;
  /** By the id of the folder they are in. */
  readonly #children = new Map<string, FoundFolder[]>();
  readonly #distinguished = new Map<DistinguishedFolder, string>();

  constructor(calls: MailboxCalls, mailbox: string, signal: AbortSignal) {
    this.#calls = calls;
    this.#mailbox = mailbox;
    this.#signal = signal;
  }

  async find(path: string, makes: boolean): Promise<Found> {
    const names = path.split('/').filter((name) => name !== '');
    const [first = '', ...below] = names;
    const wellKnown = WELL_KNOWN[first.toLowerCase()];
    let at = wellKnown === undefined ? undefined : await this.#named(wellKnown);
    let rest = below;
    if (at === undefined || (at.ok && at.id === undefined)) {
      at = await this.#named('msgfolderroot');
      rest = names;
    }
    for (const name of rest) {
      if (!at.ok || at.id === undefined) return at;
      at = await this.#inside(at.id, name, makes);
    }
    // The root itself is no folder of mail.
    return names.length === 0 ? { ok: true, id: undefined } : at;
  }

  async #named(name: DistinguishedFolder): Promise<Found> {
    const known = this.#distinguished.get(name);
    if (known !== undefined) return { ok: true, id: known };
    const answer = await this.#calls.getFolder(this.#mailbox, name, this.#signal);
    if (!answer.ok) {
      const { cause } = answer.status;
      // A mailbox may lack one of them, and older servers do not know the name of the archive.
      const isNone = cause === 'ErrorFolderNotFound' || (name === 'archive' && UNKNOWN_NAME.has(cause));
      return isNone && name !== 'msgfolderroot'
        ? { ok: true, id: undefined }
        : { ok: false, status: harmless(answer.status) };
    }
    const [folder] = foldersIn(answer.messages[0]?.element).folders;
    if (folder === undefined) return { ok: false, status: unreadableAnswer() };
    this.#distinguished.set(name, folder.id);
    return { ok: true, id: folder.id };
  }

  async #inside(parent: string, name: string, makes: boolean): Promise<Found> {
    const children = await this.#childrenOf(parent);
    if (!children.ok) return children;
    const found = oneNamed(name, children.folders);
    if (found !== undefined || !makes) return { ok: true, id: found?.id };
    const answer = await this.#calls.createFolder(this.#mailbox, parent, name, this.#signal);
    this.#children.delete(parent);
    if (!answer.ok && answer.status.cause !== 'ErrorFolderExists') {
      return { ok: false, status: harmless(answer.status) };
    }
    const [made] = answer.ok ? foldersIn(answer.messages[0]?.element).folders : [];
    if (made !== undefined) return { ok: true, id: made.id };
    // Somebody was faster.
    const again = await this.#childrenOf(parent);
    return again.ok ? { ok: true, id: oneNamed(name, again.folders)?.id } : again;
  }

  async #childrenOf(parent: string): Promise<Got<{ readonly folders: FoundFolder[] }>> {
    const known = this.#children.get(parent);
    if (known) return { ok: true, folders: known };
    const folders: FoundFolder[] = [];
    for (let page = 0; page < MAX_PAGES; page++) {
      const answer: CallResult = await this.#calls.findFolders(this.#mailbox, parent, page * FOLDER_PAGE, this.#signal);
      if (!answer.ok) return { ok: false, status: harmless(answer.status) };
      const found = foldersIn(answer.messages[0]?.element);
      folders.push(...found.folders);
      if (found.isLast) break;
    }
    this.#children.set(parent, folders);
    return { ok: true, folders };
  }
}

function oneNamed(name: string, folders: readonly FoundFolder[]): FoundFolder | undefined {
  const wanted = plain(name);
  return folders.find((one) => plain(one.name) === wanted);
}

function plain(name: string): string {
  return name.normalize('NFC').trim().toLowerCase();
}

function notFound(mailbox: string, path: string): Delayed | Failed {
  return {
    outcome: 'failed',
    code: '5.2.0',
    cause: 'folder not found',
    text: 'The mailbox has no folder of this name',
    reason: `${mailbox} has no folder ${path}; make it with Outlook, or correct its name under pickup`,
  };
}
