/**
 * Drafts of this gateway as EWS tells of them: what can be asked, and what an answer says. The answers are complete and
 * say success (call.ts); what is missing in one is undefined or an empty list, never a throw.
 */
import type { Delayed, Failed, Relayed, Unknown } from '../mail/status.ts';
import { all, parseXml } from './soap.ts';
import type { XmlElement } from './soap.ts';

export interface Draft {
  readonly id: string;
  /** Of the version seen; '' where the server has none. Sending needs the current one. */
  readonly changeKey: string;
}

export interface FoundDraft extends Draft {
  /** Exchange is sending it: no draft any more, and not to be touched. */
  readonly isSubmitted: boolean;
}

type Trouble = { readonly ok: false; readonly status: Delayed | Failed };

export type Saved =
  { readonly ok: true; readonly draft: Draft } | { readonly ok: false; readonly status: Delayed | Failed | Unknown };
/** `keepsDraft`: this server leaves the draft where it is after it was sent (Gromox), so its being there proves nothing. */
export type Sent = (Relayed & { readonly keepsDraft?: true }) | Delayed | Failed | Unknown;
export type Asked = { readonly ok: true; readonly state: 'gone' | FoundDraft } | Trouble;
export type FoundDrafts = { readonly ok: true; readonly drafts: readonly FoundDraft[] } | Trouble;

/** Items of an answer to CreateItem, GetItem or FindItem. */
export function draftsIn(xml: string): FoundDraft[] {
  const root = parseXml(xml);
  if (root === undefined) return [];
  return all(root, 'Items').flatMap(({ children }) =>
    children.flatMap((item) => {
      const { Id: id = '', ChangeKey: changeKey = '' } = part(item, 'ItemId')?.attributes ?? {};
      return id === '' ? [] : [{ id, changeKey, isSubmitted: isSubmitted(item) }];
    }),
  );
}

/** What says that it is no draft counts as being sent; what says nothing is taken for one. */
function isSubmitted(item: XmlElement): boolean {
  return part(item, 'IsSubmitted')?.text.trim() === 'true' || part(item, 'IsDraft')?.text.trim() === 'false';
}

function part(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((one) => one.name === name);
}
