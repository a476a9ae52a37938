/** A gateway that picks up from a mailbox of the sandbox, inside the test's own process. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { MailboxStore } from '../../src/sandbox/store.ts';
import { InsideGateway } from './inside.ts';
import type { Folder } from './process.ts';

export const FAX = 'fax@contoso.com';
export const ALICE = 'alice@contoso.com';
export const BOB = 'bob@contoso.com';

export type { Fault } from '../../src/sandbox/fault.ts';
export type { Sandbox };

export async function faxSandbox(more: Partial<Parameters<typeof startSandbox>[0]> = {}): Promise<Sandbox> {
  const mailboxes = [FAX, ALICE, BOB, 'notifications@contoso.com'].map((address) => ({ address }));
  return await startSandbox({ mailboxes, ...more });
}

/** @param pickup further lines of the entry, indented by four */
export async function pickingUp(
  place: Folder,
  sandbox: Sandbox,
  pickup: string,
  {
    more = '',
    transport = 'ews',
    life,
  }: { readonly more?: string; readonly transport?: 'ews' | 'graph' | 'auto'; readonly life?: string } = {},
): Promise<InsideGateway> {
  return await InsideGateway.start(place, sandbox, {
    exchange: `  graphUrl: ${sandbox.graphUrl}`,
    ...(life === undefined ? {} : { life }),
    // A claim takes two seconds at first; only its own tests need one.
    more: `pickup:\n  - mailbox: ${FAX}\n    name: fax\n    transport: ${transport}\n${pickup.includes('claim:') ? '' : '    claim: false\n'}${pickup}\nlog: { level: debug }\n${more}`,
  });
}

export interface MailFacts {
  readonly id: string;
  readonly from?: string;
  readonly to?: string;
  readonly subject?: string;
  readonly header?: string;
  readonly body?: string;
}

/** A mail as a user sends it. */
export function mail({
  id,
  from = ALICE,
  to = FAX,
  subject = 'a fax',
  header = '',
  body = 'the body',
}: MailFacts): Buffer {
  return Buffer.from(
    `From: ${from}\r\nTo: ${to}\r\nSubject: ${subject}\r\nMessage-ID: <${id}@contoso.com>\r\nDate: Thu, 26 Nov 2026 08:00:00 +0000\r\n${header}\r\n${body}\r\n`,
  );
}

/** What was handed over into a folder, by Message-ID. */
export function handedOver(folder: string): ReadonlyMap<string, { readonly facts: Facts; readonly message: string }> {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  return new Map(
    files.map((name) => {
      const facts = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Facts;
      return [facts.messageId, { facts, message: readFileSync(join(folder, name.replace('.json', '.eml')), 'utf8') }];
    }),
  );
}

export interface Facts {
  readonly id: string;
  readonly messageId: string;
  readonly from: string;
  readonly to: readonly string[];
}

/** Message-IDs of all that was handed over into a folder: once for each hand-over. */
export function handedIds(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  return files.map((name) => (JSON.parse(readFileSync(join(folder, name), 'utf8')) as Facts).messageId).toSorted();
}

/** A mailbox as its user has it in his hands. */
export function user(sandbox: Sandbox, address = FAX): MailboxStore {
  return sandbox.mailbox(address) as MailboxStore;
}

/** Message-IDs of what lies in a folder, without their domain. */
export function lying(sandbox: Sandbox, path: string, address = FAX): readonly string[] {
  const { items = [] } = sandbox.mailbox(address).folder(path) ?? {};
  return items.map(({ messageId }) => messageId.slice(1, -13)).toSorted();
}

export async function until(what: string, isSo: () => boolean, seconds = 15): Promise<void> {
  const end = performance.now() + seconds * 1_000;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await pause(10);
  }
}
