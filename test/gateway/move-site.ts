/** What a spool is moved away from, or to: a gateway in front of a sandbox that sends to Bob and picks up faxes into a folder. */
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { BOB, FAX } from './pickup-site.ts';
import type { Folder } from './process.ts';

/** @param spool what stands in its section. @returns the configuration's file */
export function moveConfig(place: Folder, sandbox: Sandbox, spool: string): string {
  const more = `
pickup:
  - { mailbox: ${FAX}, name: fax, claim: false, deliver: { folder: { path: ${place.path}/out } }, after: { keep: true }, transport: ews }
retry: { intervals: [1s], verifyAfter: 1s }
spool: { ${spool} }`;
  return place.write('config.yaml', configText({ sandbox, caFile: place.write('ca.pem', sandbox.ca), more }));
}

/** Message-IDs of what has come to Bob, sorted. */
export function arrivedAt(sandbox: Sandbox): readonly string[] {
  return sandbox
    .mailbox(BOB)
    .inbox.map(({ messageId }) => messageId)
    .toSorted();
}
