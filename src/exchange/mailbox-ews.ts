/**
 * A mailbox that mail is picked up from, over Exchange Web Services: the promises of mailbox.ts. One item at a time is
 * asked for its MIME, which streams through; what an item is comes for many at a time, and one that keeps the answer from
 * being read is told apart from the others by asking for half of them.
 */
import type { ReceivedMail } from '../mail/received.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import { harmless, withoutAnswer } from './call.ts';
import type { CallResult, Opened, Trouble } from './call.ts';
import { findFolders } from './ews-folders.ts';
import { changesIn, foldersIn, mailIn, markIn } from './ews-item.ts';
import type { EwsClient } from './ews.ts';
import { HttpFailure } from './http.ts';
import type { Changes, Filing, Got, PickupMailbox } from './mailbox.ts';
import type { MailboxCalls } from './mailbox-calls.ts';
import { MimeStream } from './mime-stream.ts';
import { listen } from './notifications.ts';
import { unreadableAnswer, unreadableMime } from './unusable.ts';

export interface EwsMailboxOptions {
  readonly ews: Pick<EwsClient, 'mailbox'>;
  /** SMTP address. */
  readonly mailbox: string;
  /** Milliseconds of a silent stream of notifications, whose heartbeat comes every 45 s; default 100,000. */
  readonly silence?: number;
  readonly now?: () => number;
}

const SILENCE = 100_000;
const GONE = 'ErrorItemNotFound';
/** The server does not know the state, or the folder that it belongs to. */
const STALE = new Set(['ErrorInvalidSyncStateData', 'ErrorSyncFolderNotFound', 'unusable text']);

type Described = Awaited<ReturnType<PickupMailbox['describe']>>;

export function ewsMailbox({ ews, mailbox, silence = SILENCE, now = Date.now }: EwsMailboxOptions): PickupMailbox {
  const calls = ews.mailbox;
  return {
    transport: 'ews',
    folders: (paths, make, signal) => findFolders(calls, mailbox, { paths, make, signal }),
    changes: async (folder, cursor, signal) =>
      changesOf(await calls.sync(mailbox, folder, cursor ?? '', signal), cursor),
    describe: (ids, signal) => describe({ calls, mailbox, now, signal }, ids),
    fetch: async (id, write, signal) => {
      const opened = await calls.openMime(mailbox, id, signal);
      return opened.ok ? await stream(opened, write) : { ok: false, status: harmless(opened.status) };
    },
    file: async (id, filing, signal) => filed(await fileBy(filing, { calls, mailbox, id, signal })),
    listen: (folder, news, signal) => listen({ calls, mailbox, folder, news, silence, signal }),
    claim: {
      read: async (folder, signal) => markOf(await calls.readMark(mailbox, folder, signal)),
      write: async (folder, mark, signal) => {
        const answer = await calls.writeMark(mailbox, folder, mark, signal);
        return answer.ok ? answer : { ok: false, status: harmless(answer.status) };
      },
    },
  };
}

function changesOf(
  answer: CallResult,
  cursor: string | undefined,
): Got<Changes> | { readonly ok: false; readonly stale: true } {
  if (!answer.ok) {
    if (cursor !== undefined && STALE.has(answer.status.cause)) return { ok: false, stale: true };
    return { ok: false, status: harmless(answer.status) };
  }
  const [message] = answer.messages;
  const changes = message && changesIn(message.element);
  return changes ? { ok: true, ...changes } : { ok: false, status: unreadableAnswer() };
}

function markOf(answer: CallResult): Got<{ readonly mark: string | undefined }> {
  if (!answer.ok) return { ok: false, status: harmless(answer.status) };
  const [message] = answer.messages;
  // Without the folder, that no mark stands there means nothing.
  if (foldersIn(message?.element).folders.length === 0) return { ok: false, status: unreadableAnswer() };
  return { ok: true, mark: message && markIn(message.element) };
}

// --- what items are -------------------------------------------------------------------------------------------------

interface Describing {
  readonly calls: MailboxCalls;
  readonly mailbox: string;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

async function describe(describing: Describing, ids: readonly string[]): Promise<Described> {
  if (ids.length === 0) return { ok: true, mails: [], unreadable: [] };
  const { calls, mailbox, signal } = describing;
  const answer = await calls.describe(mailbox, ids, signal);
  const all = answer.ok ? readAll(answer, ids, describing.now()) : { ok: false as const, status: answer.status };
  if (all.ok || !isOfOne(all.status)) return all.ok ? all : { ok: false, status: harmless(all.status) };
  const [only, ...others] = ids;
  if (only === undefined || others.length === 0) {
    const status = capped(harmless(all.status));
    return status.cause === GONE
      ? { ok: true, mails: [], unreadable: [] }
      : { ok: true, mails: [], unreadable: [{ id: only ?? '', status }] };
  }
  const half = Math.ceil(ids.length / 2);
  const first = await describe(describing, ids.slice(0, half));
  if (!first.ok) return first;
  const second = await describe(describing, ids.slice(half));
  if (!second.ok) return second;
  return {
    ok: true,
    mails: [...first.mails, ...second.mails],
    unreadable: [...first.unreadable, ...second.unreadable],
  };
}

/** The answer to many may be spoilt by one. */
function isOfOne(status: Trouble): boolean {
  return (
    status.outcome === 'failed' ||
    status.cause === NO_ANSWER ||
    (status.outcome === 'delayed' && status.reach === 'message' && status.capped === true)
  );
}

const NO_ANSWER = 'unusable answer';

function capped(status: Delayed | Failed): Delayed | Failed {
  return status.outcome === 'delayed' && status.cause === NO_ANSWER ? { ...status, capped: true } : status;
}

function readAll({ messages }: Extract<CallResult, { ok: true }>, ids: readonly string[], now: number): Described {
  if (messages.length !== ids.length) return { ok: false, status: unreadableAnswer() };
  const mails: ReceivedMail[] = [];
  const unreadable: { id: string; status: Delayed | Failed }[] = [];
  for (const [index, id] of ids.entries()) {
    const { element, status } = messages[index] ?? {};
    if (status?.cause === GONE) continue;
    const trouble = status && harmless(status);
    // It is not the item's trouble, whichever item it is told of.
    if (trouble?.outcome === 'delayed' && trouble.reach !== 'message') return { ok: false, status: trouble };
    const mail = element && !trouble ? mailIn(element, id, now) : undefined;
    if (mail) mails.push(mail);
    else unreadable.push({ id, status: trouble ?? unreadableAnswer() });
  }
  return { ok: true, mails, unreadable };
}

// --- its octets -----------------------------------------------------------------------------------------------------

async function stream(
  { response, judge, ids }: Extract<Opened, { ok: true }>,
  write: (piece: Uint8Array) => Promise<void>,
): Promise<Got<{ readonly gone: boolean }>> {
  if (response.status !== 200) return outcomeOf(await judge(response), undefined);
  const mime = new MimeStream();
  try {
    for await (const chunk of httpOnly(response.body)) {
      const piece = mime.push(chunk);
      if (piece.length > 0) await write(piece);
      if (!mime.isSound) return { ok: false, status: unreadableMime('what came is no base64, or no answer of EWS') };
    }
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    return { ok: false, status: harmless(withoutAnswer(error.failure, false, ids)) };
  }
  return outcomeOf(await judge({ ...response, text: async () => mime.rest }), mime);
}

/** An answer that broke off, told apart from an error of who reads it. */
class Broken extends Error {
  readonly failure: HttpFailure;
  constructor(failure: HttpFailure) {
    super(failure.message, { cause: failure });
    this.failure = failure;
  }
}

async function* httpOnly(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw error instanceof HttpFailure ? new Broken(error) : error;
  }
}

function outcomeOf(answer: CallResult, mime: MimeStream | undefined): Got<{ readonly gone: boolean }> {
  if (!answer.ok) {
    if (answer.status.cause === GONE) return { ok: true, gone: true };
    return { ok: false, status: capped(harmless(answer.status)) };
  }
  if (mime?.isWhole === true) return { ok: true, gone: false };
  return { ok: false, status: unreadableMime('the answer holds no whole MIME') };
}

// --- filing ---------------------------------------------------------------------------------------------------------

function fileBy(
  filing: Filing,
  { calls, mailbox, id, signal }: { calls: MailboxCalls; mailbox: string; id: string; signal: AbortSignal },
): Promise<CallResult> {
  switch (filing.kind) {
    case 'move':
      return calls.move(mailbox, id, filing.folder, signal);
    case 'delete':
      return calls.remove(mailbox, id, signal);
    case 'read':
      return calls.markRead(mailbox, id, signal);
    default:
      return unreachable(filing);
  }
}

function filed(answer: CallResult): Got<{ readonly gone: boolean }> {
  if (answer.ok) return { ok: true, gone: false };
  return answer.status.cause === GONE ? { ok: true, gone: true } : { ok: false, status: harmless(answer.status) };
}
