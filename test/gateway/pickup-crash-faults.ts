/** What goes wrong with a mailbox in the crash test of pickup: every request that reads or files, over EWS and over Graph. */
import type { Fault, Misbehaviour } from '../../src/sandbox/fault.ts';

/** Nothing here says of a mail that it can never be had: that would be put aside, and rightly. */
const ANY: Readonly<Record<string, Misbehaviour>> = {
  'slow before acting': { slow: { beforeActing: 200 } },
  'slow after acting': { slow: { afterActing: 200 } },
  'silent before acting': { silent: 'beforeActing' },
  'silent after acting': { silent: 'afterActing' },
  'cut in the upload': { cut: 'inUpload' },
  'cut before acting': { cut: 'beforeActing' },
  'cut after acting': { cut: 'afterActing' },
  'cut in the answer': { cut: 'inAnswer' },
  'HTTP 503, Retry-After': { status: 503, retryAfter: 1 },
  'HTTP 504, acted': { status: 504, acts: true },
  'HTTP 429, Retry-After': { status: 429, retryAfter: 1 },
  'garbage, not acted': { garbage: true },
  'garbage, acted': { garbage: true, acts: true },
  'a sign-in page': { body: '<html>Sign in</html>' },
  'expired token': { expiredToken: true },
};

const EWS: Readonly<Record<string, Misbehaviour>> = {
  ...ANY,
  'busy, back-off': { responseCode: 'ErrorServerBusy', backOffMilliseconds: 300 },
  'transient code': { responseCode: 'ErrorInternalServerTransientError' },
  'store away': { responseCode: 'ErrorMailboxStoreUnavailable' },
};

const GRAPH: Readonly<Record<string, Misbehaviour>> = {
  ...ANY,
  'transient code': { responseCode: 'ErrorInternalServerTransientError', status: 500 },
  'store away': { responseCode: 'ErrorMailboxStoreUnavailable', status: 503 },
};

const EWS_STALE: Misbehaviour = { responseCode: 'ErrorInvalidSyncStateData' };
const GRAPH_STALE: Misbehaviour = { responseCode: 'SyncStateNotFound', status: 410 };
const CONFLICT: Misbehaviour = { responseCode: 'ErrorIrresolvableConflict' };
const GRAPH_CONFLICT: Misbehaviour = { responseCode: 'ErrorIrresolvableConflict', status: 409 };

const OPERATIONS = {
  ews: ['SyncFolderItems', 'GetItem', 'MoveItem', 'GetFolder', 'FindFolder', 'CreateFolder', 'Subscribe', 'GetStreamingEvents'], // prettier-ignore
  graph: ['listChanges', 'getMessage', 'getMime', 'listAttachments', 'moveMessage', 'getFolder', 'listFolders', 'createFolder'], // prettier-ignore
} as const;

export const KINDS: ReadonlyMap<Misbehaviour, string> = new Map([
  ...[EWS, GRAPH].flatMap((kinds) => Object.entries(kinds).map(([name, does]) => [does, name] as const)),
  [EWS_STALE, 'cursor not known'],
  [GRAPH_STALE, 'cursor not known'],
  [CONFLICT, 'conflict'],
  [GRAPH_CONFLICT, 'conflict'],
]);

/** Share of the requests. Looking into a folder pauses a pickup for seconds when it fails, so that fails less often. */
const PART = 0.15;
const LOOKING_PART = 0.06;
/** Requests of a kind that one round may meet. */
const READY = 60;

export function* faultsOf(transport: 'ews' | 'graph', random: () => number): Generator<Fault> {
  const pick = (operation: string): Misbehaviour => {
    const isEws = transport === 'ews';
    const special = new Map([
      ['SyncFolderItems', EWS_STALE],
      ['listChanges', GRAPH_STALE],
      ['MoveItem', CONFLICT],
      ['moveMessage', GRAPH_CONFLICT],
    ]).get(operation);
    if (special !== undefined && random() < 0.4) return special;
    const kinds = Object.values(isEws ? EWS : GRAPH);
    return kinds[Math.floor(random() * kinds.length)] ?? {};
  };
  for (const operation of OPERATIONS[transport]) {
    const part = /^(?:SyncFolderItems|listChanges|.*Folders?)$/.test(operation) ? LOOKING_PART : PART;
    let after = 0;
    for (let n = 0; n < READY; n++) {
      if (random() >= part) after++;
      else yield { when: { operation, after, count: 1 }, does: pick(operation) };
    }
  }
}
