/** What the database leaves out of a search is nothing that was looked for: the same as looking at every item, however addresses are written. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isPattern, matcher } from '../../src/mail/pattern.ts';
import type { OperatedSpool } from '../../src/mail/spool.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';

const ADDRESSES = [
  '',
  'alice@contoso.com',
  'ALICE@CONTOSO.COM',
  'alice.b+tag@sub.contoso.com',
  '"alice smith"@contoso.com',
  '"a\\"li\\ce"@contoso.com',
  '"alice"@contoso.com',
  'müller@fabrikam.com',
  'MÜLLER@fabrikam.com',
  'mu\u0308ller@fabrikam.com',
  'info@münchen.example',
  'info@xn--mnchen-3ya.example',
  '\u212aelvin@contoso.com',
  'kelvin@contoso.com',
  'per%cent@contoso.com',
  'under_score@contoso.com',
  'a[b]c^d@contoso.com',
  `${'long'.repeat(60)}@contoso.com`,
];
const WANTED = [
  ...ADDRESSES,
  '*@contoso.com',
  '@contoso.com',
  'a*@contoso.com',
  '*@*.contoso.com',
  '*',
  'alice@contoso.com.',
  'smith',
  'ALI',
  'li\\ce',
  '%',
  '_',
  'r%c',
  'k',
  '@',
  'n',
  'ü',
  'Ü',
  '[b]',
  '^',
  'nobody',
  ']',
];

let place: string;
let spool: OperatedSpool;

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 's2x-'));
  spool = await openSqliteSpool({ path: join(place, 'spool.db'), report: () => undefined, minFree: 0 });
  for (const [at, address] of ADDRESSES.entries()) {
    const draft = spool.begin();
    await draft.write(Buffer.from('\r\n'));
    await draft.commit([
      {
        route: 'exchange',
        mailbox: 'notifications@contoso.com',
        envelope: { reversePath: address, recipients: [{ address: address || 'nobody@example.com' }] },
        origin: { source: 'smtp', name: 'lan', peer: '' },
        messageId: `<${at}.Message_ID%@x>`,
        headerSize: 2,
      },
    ]);
  }
});

afterAll(async () => {
  await spool.close();
  rmSync(place, { recursive: true, force: true });
});

function isMeant(wanted: string): (address: string) => boolean {
  if (wanted === '') return (address) => address === '';
  return isPattern(wanted) ? matcher([wanted]) : (address) => address.toLowerCase().includes(wanted.toLowerCase());
}

describe('a search finds what looking at each would', () => {
  it.each(WANTED)('of the sender %j', async (wanted) => {
    const found = await spool.list({ sender: wanted });
    expect(found.map(({ envelope }) => envelope.reversePath)).toEqual(ADDRESSES.filter(isMeant(wanted)));
    const recipients = await spool.list({ recipient: wanted });
    const all = ADDRESSES.map((address) => address || 'nobody@example.com');
    expect(recipients.flatMap(({ envelope }) => envelope.recipients.map(({ address }) => address))).toEqual(
      wanted === '' ? [] : all.filter(isMeant(wanted)),
    );
  });

  it.each(WANTED.filter((one) => one !== ''))('of a piece of anything %j', async (wanted) => {
    const piece = wanted.toLowerCase();
    const all = await spool.list({});
    const meant = all.filter(({ id, mailbox, messageId, envelope }) =>
      [id, mailbox, messageId, envelope.reversePath, ...envelope.recipients.map(({ address }) => address)].some(
        (text) => text.toLowerCase().includes(piece),
      ),
    );
    const ids = meant.map(({ id }) => id);
    expect((await spool.list({ pieces: [wanted] })).map(({ id }) => id)).toEqual(ids);
    expect((await spool.list({ pieces: [wanted], newestFirst: true })).map(({ id }) => id)).toEqual(ids.toReversed());
  });

  it('page by page, either way, with a state or without', async () => {
    const all = (await spool.list({})).map(({ id }) => id);
    for (const more of [
      {},
      { states: ['queued', 'parked'] as const },
      { pieces: ['@'] },
      { states: ['queued'] as const, pieces: ['@'] },
    ]) {
      for (const newestFirst of [false, true]) {
        const seen: string[] = [];
        for (let after: string | undefined; ; after = seen.at(-1)) {
          const page = await spool.list({ ...more, newestFirst, limit: 5, ...(after === undefined ? {} : { after }) });
          if (page.length === 0) break;
          seen.push(...page.map(({ id }) => id));
        }
        expect(seen).toEqual(newestFirst ? all.toReversed() : all);
      }
    }
  });
});
