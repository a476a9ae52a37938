/** The mark of a folder against the sandbox: written over one way, it is read over the other. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createEws } from '../../src/exchange/ews.ts';
import type { HttpWithLanes } from '../../src/exchange/http.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { FolderMark, PickupMailbox } from '../../src/exchange/mailbox.ts';
import { ewsMailbox } from '../../src/exchange/mailbox-ews.ts';
import { graphMailbox } from '../../src/exchange/mailbox-graph.ts';
import type { TokenProvider } from '../../src/exchange/token.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { recordSoap } from '../soap-record.ts';
import { tokenOf } from './sandbox-token.ts';

const FAX = 'fax@contoso.test';
const { signal } = new AbortController();
let sandbox: Sandbox;
let http: HttpWithLanes;
let tokens: readonly TokenProvider[] = [];
const boxes: Partial<Record<'ews' | 'graph', PickupMailbox>> = {};

beforeAll(async () => {
  sandbox = await startSandbox({
    mailboxes: [{ address: FAX, folders: ['Fax/In', 'Fax/Other'] }],
    record: (document) => recordSoap('mark', document),
  });
  http = createHttp({ ca: sandbox.ca });
  const [exchange, graph] = [tokenOf(sandbox, http, 'exchange'), tokenOf(sandbox, http, 'graph')];
  tokens = [exchange, graph];
  const ews = await createEws({ url: sandbox.ewsUrl, authorizer: bearer({ http, token: exchange }), version: '1' });
  boxes.ews = ewsMailbox({ ews, mailbox: FAX });
  const authorizer = bearer({ http, token: graph });
  boxes.graph = graphMailbox({ graph: { http, authorizer, url: sandbox.graphUrl, version: '1' }, mailbox: FAX });
});
afterAll(async () => {
  for (const token of tokens) await token.close();
  await http.close();
  await sandbox.close();
});

async function placeAt(way: 'ews' | 'graph', path: string): Promise<{ claim: FolderMark; id: string }> {
  const box = boxes[way];
  const got = await box?.folders([path], [], signal);
  if (box?.claim === undefined || got?.ok !== true) throw new Error('no such folder');
  return { claim: box.claim, id: got.ids.get(path) ?? '' };
}

const WAYS = ['ews', 'graph'] as const;

describe.each(WAYS.flatMap((from) => WAYS.map((to) => [from, to] as const)))('written over %s, read over %s', (from, to) => {
  it.each(['0a.0b pbx-1 1', '0a.0b pbx-1 2', 'free', '<&> "\' ü'])('%s', async (mark) => {
    const writer = await placeAt(from, 'Fax/In');
    const reader = await placeAt(to, 'Fax/In');
    expect(await writer.claim.write(writer.id, mark, signal)).toMatchObject({ ok: true });
    expect(await reader.claim.read(reader.id, signal)).toEqual({ ok: true, mark });
  });

  it('no other folder has it', async () => {
    const { claim, id } = await placeAt(to, 'Fax/Other');
    expect(await claim.read(id, signal)).toEqual({ ok: true, mark: undefined });
  });
}); // prettier-ignore

describe.each([
  ['ews', 'GetFolder', 'UpdateFolder'],
  ['graph', 'getFolder', 'updateFolder'],
] as const)('trouble over %s', (way, reading, writing) => {
  it.each([
    [{ responseCode: 'ErrorAccessDenied' }, { cause: 'ErrorAccessDenied' }],
    [{ status: 503 }, { outcome: 'delayed', cause: 'HTTP 503', reach: 'transport' }],
    [{ cut: 'beforeActing' as const }, { outcome: 'delayed', reach: 'message' }],
    [{ garbage: true }, { outcome: 'delayed', reach: 'message' }],
  ])('%j', async (does, status) => {
    const { claim, id } = await placeAt(way, 'Fax/In');
    for (const [operation, ask] of [
      [reading, () => claim.read(id, signal)],
      [writing, () => claim.write(id, 'free', signal)],
    ] as const) {
      sandbox.fault({ when: { operation, count: 1 }, does });
      // What only its status says of a write over Graph needs no body.
      const isFine = way === 'graph' && operation === writing && 'garbage' in does;
      expect(await ask()).toMatchObject(isFine ? { ok: true } : { ok: false, status });
    }
  });

  it('a folder that is not there', async () => {
    const { claim } = await placeAt(way, 'Fax/In');
    const { id } = await placeAt(way, 'Fax/Other');
    const other = `${id.slice(0, -4)}${way === 'ews' ? 'AAA=' : 'AAAA'}`;
    for (const asked of [await claim.read(other, signal), await claim.write(other, 'free', signal)]) {
      expect(asked).toMatchObject({ ok: false, status: { cause: way === 'ews' ? 'ErrorFolderNotFound' : 'folder not found' } });
    }
  });
}); // prettier-ignore
