/** The demo's way back: a fax round trip, from a user's mail to the fax server and its report to the user. */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { composeMail } from '../smtp/client.ts';
import type { Mail } from '../smtp/client.ts';
import type { FaxServer } from './fax-server.ts';
import type { Terminal } from './outcome.ts';
import { sampleFax } from './samples.ts';
import { FAX, PEOPLE } from './sandbox.ts';

const NUMBER = '+49 30 5550100';
const DIALLED = '+49305550100';
/** Milliseconds for the whole way. */
const PATIENCE = 30_000;

/** @param port of the fax server */
export function pickupSettings(port: number): unknown {
  return {
    name: 'fax',
    mailbox: FAX,
    from: { allow: ['@contoso.com'] },
    recipients: [{ in: 'subject', pattern: 'Fax to (\\+?[0-9 ]+)', to: '$1@fax.demo', digits: true }],
    attachments: { required: true, allow: ['.pdf', '.tif', '.tiff'] },
    deliver: { smtp: { host: '127.0.0.1', port } },
    answer: { failure: true },
  };
}

/** @returns what is wrong with how it went; nothing, as it should be */
export async function faxRoundTrip(
  sandbox: Sandbox,
  server: FaxServer,
  terminal: Terminal,
): Promise<readonly string[]> {
  const mail = sampleFax({ alice: PEOPLE.alice, fax: FAX }, NUMBER);
  const begun = performance.now();
  await sandbox.receive(FAX, { mime: await composeMail(mail) });
  terminal.print(`\nmailed    ${mail.subject.padEnd(36)}by ${PEOPLE.alice} to the mailbox ${FAX}`);
  await until(() => server.faxes.length > 0, begun, terminal.stop);
  const [fax] = server.faxes;
  if (fax === undefined) return ['the fax server got nothing'];
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  terminal.print(`faxed     to ${fax.number} by the fax server, ${seconds} s later:`);
  for (const { name, type, size, sha256 } of fax.documents)
    terminal.print(
      `          ${name.padEnd(18)}${type.padEnd(18)}${String(size).padStart(8)} octets  ${sha256.slice(0, 12)}`,
    );
  const report = (): boolean =>
    sandbox.mailbox(PEOPLE.alice).inbox.some(({ subject }) => subject === reportOf(fax.number));
  await until(report, begun, terminal.stop);
  const filed = await waitFiled(sandbox, begun, terminal.stop);
  if (report())
    terminal.print(
      `reported  ${reportOf(fax.number).padEnd(36)}by the fax server to ${PEOPLE.alice}, through the gateway`,
    );
  terminal.print(`filed     the mail lies in the folder ${filed ? 'Processed' : 'it came to'} of ${FAX}`);
  return [
    ...faultsOf(mail, fax),
    ...(report() ? [] : ['the report of the fax server did not arrive']),
    ...(filed ? [] : ['the mail was not moved to Processed']),
  ];
}

function reportOf(number: string): string {
  return `Fax to ${number}: sent`;
}

function faultsOf(mail: Mail, { number, documents, sender }: FaxServer['faxes'][number]): readonly string[] {
  const sent = (mail.attachments ?? []).map(({ content }) => createHash('sha256').update(content).digest('hex'));
  const got = documents.map(({ sha256 }) => sha256);
  return [
    ...(number === DIALLED ? [] : [`the fax server dialled ${number} instead of ${DIALLED}`]),
    ...(sender === PEOPLE.alice ? [] : [`the fax server was told that ${sender} is the sender`]),
    ...(sent.every((one, index) => one === got[index]) && sent.length === got.length
      ? []
      : ['the documents were changed on their way']),
  ];
}

async function waitFiled(sandbox: Sandbox, begun: number, stop: AbortSignal): Promise<boolean> {
  const isFiled = (): boolean =>
    sandbox.mailbox(FAX).inbox.length === 0 && sandbox.mailbox(FAX).folder('Processed')?.items.length === 1;
  await until(isFiled, begun, stop);
  return isFiled();
}

async function until(isSo: () => boolean, begun: number, stop: AbortSignal): Promise<void> {
  while (!isSo() && performance.now() - begun < PATIENCE && !stop.aborted) await pause(20);
}
