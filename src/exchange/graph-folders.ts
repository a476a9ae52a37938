/**
 * Folders of a mailbox by their paths, found and made over Graph. One attempt; trouble is a value. Names are compared
 * here and not by a filter of the server, whose rules for case are not documented; making a folder that somebody else
 * makes at the same moment finds that one.
 */
import type { MailFolder } from '@microsoft/microsoft-graph-types';
import { printable } from './call.ts';
import { graphJson } from './graph-json.ts';
import type { FolderIds, Got } from './mailbox.ts';
import { askMailbox, folderNotFound, isGone, listAll, unreadable } from './graph-pickup.ts';
import type { GraphMailboxOptions, Trouble } from './graph-pickup.ts';

/** Whatever the language of the mailbox calls them (learn.microsoft.com/graph/api/resources/mailfolder). */
const WELL_KNOWN = new Set(['inbox', 'archive', 'drafts', 'sentitems', 'deleteditems', 'junkemail']);
const ROOT = 'msgfolderroot';
const PAGE = 100;

type Step = { readonly ok: true; readonly id: string | undefined } | Trouble;

export async function findFolders(
  source: GraphMailboxOptions,
  paths: readonly string[],
  make: readonly string[],
  signal: AbortSignal,
): Promise<Got<{ readonly ids: FolderIds }>> {
  const ids = new Map<string, string>();
  const tree = treeOf(source, signal);
  for (const path of paths) {
    const found = await walk(tree, path, make.includes(path));
    if (!found.ok) return { ok: false, status: found.status };
    if (found.id === undefined) return { ok: false, status: folderNotFound(missing(path)) };
    ids.set(path, found.id);
  }
  return { ok: true, ids };
}

function missing(path: string): string {
  return `The mailbox has no folder "${printable(path)}"; check its name (as the mailbox shows it, from its top, with / between folders), or make it`;
}

/** @returns undefined as id: there is no such folder, and it was not to be made */
async function walk(tree: Tree, path: string, isMade: boolean): Promise<Step> {
  const names = path.split('/').filter((name) => name !== '');
  const first = names[0]?.toLowerCase();
  if (first === undefined) return await tree.wellKnown(ROOT);
  let at = ROOT;
  if (WELL_KNOWN.has(first)) {
    const known = await tree.wellKnown(first);
    if (!known.ok) return known;
    // Not every mailbox has an archive; it may have a folder of that name.
    if (known.id !== undefined) {
      at = known.id;
      names.shift();
    }
  }
  for (const name of names) {
    let next = await tree.child(at, name);
    if (next.ok && next.id === undefined && isMade) next = await tree.make(at, name);
    if (!next.ok || next.id === undefined) return next;
    at = next.id;
  }
  return { ok: true, id: at };
}

interface Tree {
  wellKnown(name: string): Promise<Step>;
  child(parent: string, name: string): Promise<Step>;
  make(parent: string, name: string): Promise<Step>;
}

/** What was seen is kept for this one search. */
function treeOf(source: GraphMailboxOptions, signal: AbortSignal): Tree {
  const seen = new Map<string, Map<string, string>>();

  async function child(parent: string, name: string): Promise<Step> {
    let children = seen.get(parent);
    if (children === undefined) {
      const path = `${pathOf(parent)}/childFolders?$select=id,displayName&$top=${PAGE}`;
      const listed = await listAll(source, path, signal);
      if (!listed.ok) return listed;
      children = new Map(
        (listed.items as readonly MailFolder[]).map(({ id, displayName }) => [keyOf(displayName ?? ''), id ?? '']),
      );
      seen.set(parent, children);
    }
    return { ok: true, id: children.get(keyOf(name)) };
  }

  return {
    async wellKnown(name) {
      const path = `${pathOf(name)}?$select=id`;
      const asked = await askMailbox(source, { method: 'GET', path, success: 200, signal });
      if (!asked.ok) return isGone(asked) ? { ok: true, id: undefined } : asked;
      return idOf(asked.json);
    },
    child,
    async make(parent, name) {
      const made = await askMailbox(source, {
        method: 'POST',
        path: `${pathOf(parent)}/childFolders`,
        body: graphJson('folder', { displayName: name }),
        success: 201,
        signal,
      });
      seen.delete(parent);
      if (made.ok) return idOf(made.json);
      if (made.http !== 409) return made;
      const found = await child(parent, name);
      return found.ok && found.id === undefined ? made : found;
    },
  };
}

function idOf(json: unknown): Step {
  const { id } = json as MailFolder;
  return typeof id === 'string' ? { ok: true, id } : { ok: false, status: unreadable('a folder') };
}

function pathOf(folder: string): string {
  return `/mailFolders/${encodeURIComponent(folder)}`;
}

function keyOf(name: string): string {
  return name.normalize().toLowerCase();
}
