/**
 * The transport to Exchange by EWS: a spooled message becomes one CreateItem that sends it, with the envelope as the law
 * (mail/recipients.ts). Promises of Transport: one attempt, expected trouble is a value; nothing is kept in memory but the
 * header block.
 *
 * Looking after an unclear outcome: each sent copy carries the id of its item, because Message-IDs are not unique (a
 * program that opens one SMTP transaction per recipient repeats them). Folders are searched in the order a message moves
 * through them, so that it cannot slip from one not yet searched into one searched already. In Sent Items it was sent. In
 * Outbox or Drafts it was taken but not sent (yet): Exchange holds back what exceeds a mailbox's rate there, and leaves a
 * draft behind when it refuses a sender. Neither may be sent again blindly, so it is looked for again later, until
 * giveUpAfter hands it to the operator. Without a saved copy nothing can be known. (Gromox files the copy before it sends,
 * so with it a found copy proves less than with Exchange.) What is large or precious goes in two steps: see two-step.ts.
 */
import type { QueueItem } from '../mail/item.ts';
import { fieldValue, headerBlock, joinHeader, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import { applyEnvelope } from '../mail/recipients.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, DeliveryStatus, Failed, Verification } from '../mail/status.ts';
import {
  headerTooLarge,
  MAX_HEADER_SIZE,
  PRECIOUS_FIELD,
  readHeader,
  replaceHeader,
  SizeMismatch,
  unreadable,
  cutShort,
} from '../mail/stored.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { FOLDERS } from './ews.ts';
import type { Ews, FolderName, NewMessage } from './ews.ts';
import { foundSent, heldBack, refusedLook } from './looked.ts';
import { readProperties } from './properties.ts';
import { TwoStep } from './two-step.ts';

export interface ExchangeTransportOptions {
  readonly ews: Ews;
  /** Keep a copy in the sending mailbox's Sent Items. Without it an unclear outcome stays unclear. */
  readonly saveToSentItems: boolean;
  /**
   * Names of X- fields that are also handed over as properties, default none: Exchange drops a field whose name the
   * mailbox never used before. Each name takes a place of the mailbox's quota of named properties for good.
   */
  readonly carryHeaders?: readonly string[];
  /** Octets as spooled; what is larger goes in two steps. Default: only what its header says is precious. */
  readonly twoStepAbove?: number;
  /** For events, default `ews`. */
  readonly name?: string;
  /** Octets of a header block that are held in memory, default 1 MiB. */
  readonly maxHeaderSize?: number;
}

/** Pages of matches looked through; more mail of one Message-ID is no evidence any more. */
export const MAX_PAGES = 20;

export function exchangeTransport(options: ExchangeTransportOptions): Transport {
  const twoStep = new TwoStep(options.ews, options.saveToSentItems);
  return {
    name: options.name ?? 'ews',
    deliver: (outgoing, signal) => deliver(options, twoStep, outgoing, signal),
    verify: (outgoing, signal) => verify(options, twoStep, outgoing, signal),
    // The connections belong to whoever made the Ews.
    close: async () => {},
  };
}

async function deliver(
  options: ExchangeTransportOptions,
  twoStep: TwoStep,
  outgoing: Outgoing,
  signal: AbortSignal,
): Promise<DeliveryStatus> {
  const { ews, saveToSentItems, carryHeaders = [], maxHeaderSize = MAX_HEADER_SIZE } = options;
  const { item } = outgoing;
  if (signal.aborted) return aborted();
  if (item.headerSize > maxHeaderSize) return headerTooLarge(item.headerSize, maxHeaderSize);
  try {
    const block = await readHeader(outgoing);
    const all = splitHeader(block);
    const { fields, blind } = applyEnvelope(
      all.filter(({ name }) => name !== PRECIOUS_FIELD),
      item.envelope.recipients.map(({ address }) => address),
    );
    const header = joinHeader(fields);
    const message: NewMessage = {
      ...(await readProperties(fields, carryHeaders)),
      mailbox: item.mailbox,
      spoolId: item.id,
      blind,
      saveCopy: saveToSentItems,
      content: { length: header.length + item.size - item.headerSize, open: () => replaceHeader(header, outgoing) },
    };
    if (isLarge(options, item) || isPrecious(all)) {
      const status = await twoStep.deliver(message, outgoing, signal, (save) => withoutRefused(message, save));
      if (status !== undefined) return status;
    }
    return await send(ews, message, signal);
  } catch (error) {
    if (error instanceof SpoolError || error instanceof SizeMismatch) return unreadable(error);
    throw error;
  }
}

/** Exchange refused to store a property, so it did not send: the mailbox's quota of named properties may be used up. */
const NOT_STORED: ReadonlySet<string> = new Set([
  'ErrorItemSave',
  'ErrorItemSavePropertyError',
  'ErrorPropertyValidationFailure',
  'ErrorInvalidPropertySet',
]);

/** Once more without the X- fields as properties if Exchange does not store them: no message fails for a copy of its header. */
async function send(ews: Ews, message: NewMessage, signal: AbortSignal): Promise<DeliveryStatus> {
  const { told, refused } = await withoutRefused(message, async (one) => {
    const status = await ews.send(one, signal);
    return { told: status, status };
  });
  return told.outcome === 'relayed' && refused !== undefined ? { ...told, reason: refused } : told;
}

/** @returns what the last upload told, and in `refused` what the operator should know if it was the second */
async function withoutRefused<Told>(
  message: NewMessage,
  upload: (message: NewMessage) => Promise<{ readonly told: Told; readonly status: DeliveryStatus | undefined }>,
): Promise<{ readonly told: Told; readonly refused?: string }> {
  const { told, status } = await upload(message);
  const isCarrying = (message.internetHeaders ?? []).length > 0;
  if (status?.outcome !== 'failed' || !NOT_STORED.has(status.cause) || !isCarrying) return { told };
  const second = await upload({ ...message, internetHeaders: [] });
  return {
    told: second.told,
    refused: `Sent without its X- fields as properties, because Exchange did not store them (${status.cause}); the mailbox's quota of named properties may be used up`,
  };
}

function isLarge({ twoStepAbove = Infinity }: ExchangeTransportOptions, item: QueueItem): boolean {
  return item.size > twoStepAbove;
}

function isPrecious(fields: readonly HeaderField[]): boolean {
  return fields.some((field) => field.name === PRECIOUS_FIELD && fieldValue(field).trim().toLowerCase() === 'yes');
}

async function verify(
  options: ExchangeTransportOptions,
  twoStep: TwoStep,
  outgoing: Outgoing,
  signal: AbortSignal,
): Promise<Verification> {
  const { item } = outgoing;
  if (!(await goesInTwoSteps(options, outgoing))) return await verifyByCopy(options, item, signal);
  return await twoStep.verify(outgoing, signal, () => verifyByCopy(options, item, signal));
}

async function goesInTwoSteps(options: ExchangeTransportOptions, outgoing: Outgoing): Promise<boolean> {
  if (isLarge(options, outgoing.item)) return true;
  const { headerSize } = outgoing.item;
  if (headerSize > (options.maxHeaderSize ?? MAX_HEADER_SIZE)) return false;
  return isPrecious(splitHeader(await headerBlock(outgoing.open(), headerSize)));
}

async function verifyByCopy(
  { ews, saveToSentItems }: ExchangeTransportOptions,
  item: QueueItem,
  signal: AbortSignal,
): Promise<Verification> {
  if (!saveToSentItems) {
    return {
      outcome: 'unknowable',
      reason: 'no copy is kept in Sent Items (saveToSentItems: false), so Exchange cannot be asked whether it was sent',
    };
  }
  const held: FolderName[] = [];
  let isUnmarked = false;
  for (const folder of FOLDERS) {
    const seen = await look(ews, item, folder, signal);
    if (typeof seen !== 'string') {
      return seen.outcome === 'delayed' ? seen : refusedLook(seen);
    }
    if (seen === 'ours' && folder === 'sentitems') return foundSent();
    if (seen === 'ours') held.push(folder);
    if (seen === 'unmarked') isUnmarked = true;
  }
  if (held.length > 0) return heldBack(held);
  if (isUnmarked) {
    return {
      outcome: 'unknowable',
      reason: 'the mailbox holds a message with this Message-ID that does not say whether it came from this item',
    };
  }
  return { outcome: 'absent' };
}

/** unmarked: a match without any mark, which may be ours on a server that drops it. */
async function look(
  ews: Ews,
  item: QueueItem,
  folder: FolderName,
  signal: AbortSignal,
): Promise<'ours' | 'absent' | 'unmarked' | Delayed | Failed> {
  let isUnmarked = false;
  let offset = 0;
  for (let page = 0; page < MAX_PAGES; page++) {
    const found = await ews.find({ mailbox: item.mailbox, folder, messageId: item.messageId, offset }, signal);
    if (!found.ok) return found.status;
    if (found.marks.includes(item.id)) return 'ours';
    isUnmarked ||= found.marks.includes(undefined);
    offset += found.marks.length;
    // An empty page that promises more would never end.
    if (!found.more || found.marks.length === 0) return isUnmarked ? 'unmarked' : 'absent';
  }
  return 'unmarked';
}

export function aborted(): Delayed {
  return cutShort('Given up before anything was sent');
}
