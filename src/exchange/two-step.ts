/**
 * Sending in two steps, which leaves no doubt: the message is uploaded as a draft, then sent by its id. A draft is used up
 * by being sent, so while it lies in Drafts it was not sent, and after a lost answer Exchange can simply be asked. A lost
 * upload is harmless: its draft is found by its mark, or is an orphan that is removed when the item ends.
 *
 * What proves that it was sent: its copy in Sent Items. Where none is kept, that the draft is gone although its sending
 * had begun; the item's journal remembers whether it had, and of which draft, so that a crash leaves no doubt either, not
 * even with a second draft lying there. A draft that somebody deletes in that moment counts as sent then.
 *
 * Promises of Transport; a draft is removed only if nothing says that it is being sent.
 */
import type { Delayed, DeliveryStatus, Relayed, Unknown, Verification } from '../mail/status.ts';
import type { Outgoing } from '../mail/transport.ts';
import type { Draft, FoundDraft, Saved } from './drafts.ts';
import type { Ews, NewMessage } from './ews.ts';
import { refusedLook } from './looked.ts';

/** Words of the journal. saving: no draft was sent yet. sending: the sending of the draft with the id that follows has begun. */
const SAVING = 'saving a draft';
const SENDING = 'sending draft ';
/** How often a draft is sent in one attempt, each time after Exchange said that it is still there. */
const SENDS = 2;
/** Somebody changed the draft since: its change key is another one. */
const CHANGED: ReadonlySet<string> = new Set([
  'ErrorStaleObject',
  'ErrorIrresolvableConflict',
  'ErrorChangeKeyRequired',
  'ErrorChangeKeyRequiredForWriteOperations',
  'ErrorInvalidChangeKey',
]);

/** Uploads by `save`, perhaps a second time without what the server refused to store. */
export type Upload = (
  save: (message: NewMessage) => Promise<{ readonly told: Saved; readonly status: DeliveryStatus | undefined }>,
) => Promise<{ readonly told: Saved; readonly refused?: string }>;

interface Attempt {
  readonly message: NewMessage;
  readonly outgoing: Outgoing;
  readonly signal: AbortSignal;
}

interface Ready extends Draft {
  /** Saved by this attempt, so no other one can have sent it. */
  readonly isFresh: boolean;
  readonly refused?: string;
}

export class TwoStep {
  readonly #ews: Ews;
  readonly #saveCopy: boolean;
  /** This server leaves sent drafts where they are, so they prove nothing. */
  #isUseless = false;

  constructor(ews: Ews, saveCopy: boolean) {
    this.#ews = ews;
    this.#saveCopy = saveCopy;
  }

  /** Undefined: this server is not fit for it; nothing was done. */
  async deliver(
    message: NewMessage,
    outgoing: Outgoing,
    signal: AbortSignal,
    upload: Upload,
  ): Promise<DeliveryStatus | undefined> {
    if (this.#isUseless) return undefined;
    const attempt: Attempt = { message, outgoing, signal };
    const draft = await this.#ready(attempt, upload);
    const status = 'outcome' in draft ? draft : await this.#send(attempt, draft);
    if (isOver(status)) await this.#sweep(attempt, 'outcome' in draft ? undefined : draft, status);
    if (status.outcome !== 'relayed' || 'outcome' in draft || draft.refused === undefined) return status;
    return { ...status, reason: draft.refused };
  }

  /** @param byCopy looks where the sent message would lie */
  async verify(outgoing: Outgoing, signal: AbortSignal, byCopy: () => Promise<Verification>): Promise<Verification> {
    if (this.#isUseless) return await byCopy();
    const begun = await this.#begun(outgoing, signal);
    if (begun !== undefined && 'outcome' in begun) return begun;
    const { mailbox, id } = outgoing.item;
    const found = await this.#ews.drafts.find(mailbox, id, signal);
    if (!found.ok && found.status.outcome === 'delayed') return found.status;
    const drafts = found.ok ? found.drafts : [];
    if (begun?.sent === true) {
      await this.#remove(mailbox, drafts, signal);
      return gone();
    }
    if (this.#saveCopy) {
      const copy = await byCopy();
      if (copy.outcome === 'relayed') await this.#remove(mailbox, drafts, signal);
      // Without a draft the copy decides; with one, only a copy that is already on its way does.
      if (copy.outcome === 'delayed' && copy.cause === 'found in Drafts' && !found.ok) return soon(copy);
      if (drafts.length === 0 || copy.outcome === 'relayed') return copy;
      if (copy.outcome === 'delayed' && copy.cause !== 'found in Drafts') return copy;
    }
    if (drafts.some(({ isSubmitted }) => isSubmitted)) return underWay();
    if (drafts.length > 0) return { outcome: 'absent', certain: 'its draft lies unsent in Drafts' };
    if (begun?.sent === false) return { outcome: 'absent', certain: 'it had not been sent from its draft yet' };
    return await byCopy();
  }

  /** What the journal and the draft it names say. Undefined: nothing. */
  async #begun(outgoing: Outgoing, signal: AbortSignal): Promise<{ readonly sent: boolean } | Delayed | undefined> {
    if (this.#saveCopy) return undefined;
    const last = await outgoing.journal?.last();
    if (last === SAVING) return { sent: false };
    if (last?.startsWith(SENDING) !== true) return undefined;
    const asked = await this.#ews.drafts.get(outgoing.item.mailbox, last.slice(SENDING.length), signal);
    if (!asked.ok) return asked.status.outcome === 'delayed' ? asked.status : refusedLook(asked.status);
    if (asked.state !== 'gone' && asked.state.isSubmitted) return underWay();
    return { sent: asked.state === 'gone' };
  }

  /** A draft to send: what an earlier attempt has left, or a new one. */
  async #ready(attempt: Attempt, upload: Upload): Promise<Ready | DeliveryStatus> {
    const { item } = attempt.outgoing;
    if (item.doubtful || item.attempts > 1 || item.lastStatus !== undefined) {
      const left = await this.#left(attempt);
      if (left !== undefined) return left;
    }
    const { journal } = attempt.outgoing;
    if (!this.#saveCopy && (await journal?.last()) !== SAVING) await journal?.write(SAVING);
    const { told, refused } = await upload(async (message) => {
      const saved = await this.#ews.drafts.save(message, attempt.signal);
      return { told: saved, status: saved.ok ? undefined : saved.status };
    });
    if (told.ok) return { ...told.draft, isFresh: true, ...(refused === undefined ? {} : { refused }) };
    if (told.status.outcome !== 'unknown') return told.status;
    // Given up: whoever starts next has to look, even if this attempt is not counted.
    if (attempt.signal.aborted) return told.status;
    return (await this.#left(attempt)) ?? notSent(told.status);
  }

  async #left({ outgoing, signal }: Attempt): Promise<Ready | DeliveryStatus | undefined> {
    const { item } = outgoing;
    const found = await this.#ews.drafts.find(item.mailbox, item.id, signal);
    // A server that cannot search so has to be given the message again.
    if (!found.ok) return found.status.outcome === 'delayed' ? found.status : undefined;
    if (found.drafts.some(({ isSubmitted }) => isSubmitted)) return inDoubt(underWay());
    const [draft] = found.drafts;
    return draft && { ...draft, isFresh: false };
  }

  async #send({ message, outgoing, signal }: Attempt, ready: Ready): Promise<DeliveryStatus> {
    const { mailbox } = message;
    const { drafts } = this.#ews;
    if (!this.#saveCopy) await outgoing.journal?.write(SENDING + ready.id);
    let draft: Draft = ready;
    // An earlier attempt may have sent what this one has found.
    let doubt: Unknown | undefined;
    for (let sends = 1; ; sends++) {
      const status = await drafts.send(mailbox, draft, message.saveCopy, signal);
      if (status.outcome === 'relayed') return this.#accepted(status);
      if (status.outcome === 'unknown') doubt = status;
      // Given up with a draft left: whoever starts next has to look.
      if (signal.aborted) return doubt ?? inDoubt(status);
      const isMissing = status.cause === 'ErrorItemNotFound';
      if (isMissing && doubt === undefined && !ready.isFresh && outgoing.item.doubtful) doubt = inDoubt(status);
      if (status.outcome !== 'unknown' && !isMissing && !CHANGED.has(status.cause))
        return doubt !== undefined && status.outcome === 'delayed' ? doubt : status;
      const asked = await drafts.get(mailbox, draft.id, signal);
      if (!asked.ok || (asked.state !== 'gone' && asked.state.isSubmitted)) return doubt ?? inDoubt(status);
      if (asked.state === 'gone') {
        if (doubt !== undefined) return await this.#lookForCopy(outgoing, doubt, signal);
        if (!this.#saveCopy) await outgoing.journal?.write(SAVING);
        return deleted();
      }
      if (sends >= SENDS) return doubt ?? status;
      draft = asked.state;
    }
  }

  /** The draft is gone after an answer was lost. */
  async #lookForCopy({ item }: Outgoing, doubt: Unknown, signal: AbortSignal): Promise<DeliveryStatus> {
    if (!this.#saveCopy) return gone();
    const { mailbox, messageId, id } = item;
    const found = await this.#ews.find({ mailbox, folder: 'sentitems', messageId, offset: 0 }, signal);
    // Its copy may take a while to appear; it is looked for again before anything else is done.
    return found.ok && found.marks.includes(id) ? { ...gone(), cause: 'found in Sent Items' } : doubt;
  }

  #accepted({ keepsDraft, ...status }: Relayed & { readonly keepsDraft?: true }): Relayed {
    if (keepsDraft === true) this.#isUseless = true;
    return status;
  }

  /** What an item leaves in Drafts when it ends. A draft that was just sent is not touched. */
  async #sweep(
    { message, outgoing, signal }: Attempt,
    draft: Ready | undefined,
    status: DeliveryStatus,
  ): Promise<void> {
    const { mailbox } = message;
    const wasSent = status.outcome === 'relayed' && !this.#isUseless;
    const { item } = outgoing;
    // Before any is gone: otherwise a crash in that moment would take its absence for its having been sent.
    if (status.outcome !== 'relayed' && !this.#saveCopy) await outgoing.journal?.write(SAVING);
    if (draft && !wasSent) await this.#ews.drafts.remove(mailbox, draft.id, signal);
    if (draft?.isFresh === true && item.attempts <= 1 && item.lastStatus === undefined) return;
    const found = await this.#ews.drafts.find(mailbox, item.id, signal);
    const others = found.ok ? found.drafts.filter(({ id }) => id !== draft?.id) : [];
    await this.#remove(mailbox, others, signal);
  }

  async #remove(mailbox: string, drafts: readonly FoundDraft[], signal: AbortSignal): Promise<void> {
    for (const { id, isSubmitted } of drafts) if (!isSubmitted) await this.#ews.drafts.remove(mailbox, id, signal);
  }
}

/** The item ends, or may end after some more of these. */
function isOver(status: DeliveryStatus): boolean {
  return status.outcome === 'relayed' || status.outcome === 'failed' || ('capped' in status && status.capped === true);
}

function gone(): Relayed {
  return { outcome: 'relayed', code: '2.0.0', cause: 'sent from its draft', text: 'Accepted by Exchange' };
}

/** A draft that will be sent once it is found by its own mark: no reason to wait as for one that Exchange holds back. */
function soon({ retryAfter: _retryAfter, ...status }: Delayed): Delayed {
  return status;
}

/** A lost answer to an upload: nothing was sent. */
function notSent({ cause, text, reason, ids }: Unknown): Delayed {
  return {
    outcome: 'delayed',
    code: '4.4.2',
    reach: 'message',
    cause,
    text,
    reason: `Nothing was sent: the message was only being saved as a draft, and none is there. ${reason ?? ''}`.trim(),
    ...(ids === undefined ? {} : { ids }),
  };
}

function deleted(): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    cause: 'draft deleted',
    text: 'The mail server is temporarily unable to take the message',
    reason: 'The draft was deleted in the sending mailbox before it was sent; it is made again',
  };
}

function underWay(): Delayed {
  return {
    outcome: 'delayed',
    code: '4.4.7',
    reach: 'message',
    cause: 'draft being sent',
    text: 'The mail server has taken the message and not sent it yet',
    reason: 'Exchange is sending the draft of this message; it is looked for again',
  };
}

function inDoubt({ cause, text, reason, ids }: DeliveryStatus): Unknown {
  return {
    outcome: 'unknown',
    code: '4.4.2',
    cause,
    text,
    ...(reason === undefined ? {} : { reason }),
    ...(ids === undefined ? {} : { ids }),
  };
}
