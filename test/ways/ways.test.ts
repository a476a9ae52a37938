/**
 * The same envelopes, messages and sizes on every way out, and what a reader then has. `npx vitest run test/ways -u`
 * writes the tables of docs/transports.md anew from what was measured here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../src/mail/address.ts';
import { ENVELOPES, messageOf } from './envelopes.ts';
import { ROWS } from './rows.ts';
import type { Otherwise, Row } from './rows.ts';
import type { Most, SizeRow, SizeWay } from './sizes.ts';
import { mostOf, openSmallWays, SIZE_WAYS, SMALL_ROWS, USUAL_ROWS } from './sizes.ts';
import type { Sent, Way, Ways } from './site.ts';
import { ANN, copyOf, fieldsOf, openWays, PEOPLE, WAYS } from './site.ts';
import type { Outcome } from './table.ts';
import { renderTables } from './table.ts';

let ways: Ways;
let small: Ways;
beforeAll(async () => {
  ways = await openWays();
  small = await openSmallWays();
});
afterAll(async () => {
  await ways.close();
  await small.close();
});

const measured = new Map<Row, Partial<Record<Way, Outcome>>>(ROWS.map((row) => [row, {}]));
const sizes = new Map<SizeRow, Partial<Record<SizeWay, Outcome>>>(
  [...SMALL_ROWS, ...USUAL_ROWS].map((row) => [row, {}]),
);

function isNothing(value: unknown): boolean {
  return value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
}

/** As an expectation is written. */
function outcomeOf(found: unknown, original: unknown, known: Otherwise | undefined): Outcome {
  if (JSON.stringify(found) === JSON.stringify(original)) return 'kept';
  const words = typeof known === 'object' && 'words' in known ? known.words : 'changed';
  return isNothing(found) ? 'lost' : { as: found, words };
}

/** What is refused has gone nowhere. */
function refusal({ status, arrival, got, kept }: Sent): Outcome | undefined {
  expect(status).toMatchObject({ outcome: expect.stringMatching(/^(?:relayed|failed)$/) });
  const isRefused = status.outcome === 'failed';
  expect([arrival === undefined, Object.keys(got).length === 0]).toEqual([isRefused, isRefused]);
  expect(isRefused && kept > 0).toBe(false);
  return isRefused ? { refused: status.code } : undefined;
}

async function measure(way: Way, row: Row): Promise<Outcome> {
  const sent = await ways.send(way, row.message, row.recipients ?? [ANN], row.options);
  const original = row.wanted ?? (await row.look(await copyOf(row.message)));
  expect(isNothing(original)).toBe(false);
  const refused = refusal(sent);
  if (refused !== undefined) return refused;
  const [mime = Buffer.alloc(0)] = sent.copies;
  const { submitted: handed = mime } = sent.arrival ?? {};
  return outcomeOf(await row.look(await copyOf(mime, { ...sent, handed })), original, row.otherwise?.[way]);
}

describe.each(WAYS)('%s', (way) => {
  it.each(ENVELOPES.map((one) => [one.name, one] as const))('envelope: %s', async (_name, one) => {
    const { envelope, reversePath, blind = [] } = one;
    const options = reversePath === undefined ? {} : { envelope: { reversePath } };
    const { status, got, arrival, copies } = await ways.send(way, messageOf(one), envelope, options);
    expect(status).toMatchObject({ outcome: 'relayed' });
    const isOurs = (address: string): boolean => PEOPLE.some((person) => person === address);
    const people = [...new Set(envelope.filter(isOurs))];
    expect(got).toEqual(Object.fromEntries(people.map((address) => [address, 1])));
    const outside = envelope.filter((address) => !isOurs(address)).map(canonicalAddress);
    expect(arrival?.outside.map(canonicalAddress).toSorted()).toEqual(outside.toSorted());
    for (const copy of copies) {
      for (const address of blind) expect(copy.includes(address)).toBe(false);
    }
  });

  it.each(ROWS.map((row) => [row.group, row.what, row] as const))('%s: %s', async (_group, _what, row) => {
    const outcome = await measure(way, row);
    const cells = measured.get(row) ?? {};
    cells[way] = outcome;
    expect(outcome).toEqual(row.otherwise?.[way] ?? 'kept');
  });

  it('leaves no draft behind', () => expect(ways.sandbox.mailbox('sender@contoso.test').drafts).toEqual([]));
});

describe.each(SIZE_WAYS)('sizes: %s', (way) => {
  let most: Most;
  beforeAll(async () => void (most = await mostOf(small, way)));

  it.each([
    ...SMALL_ROWS.map((row) => [row.what, row, () => small] as const),
    ...USUAL_ROWS.map((row) => [row.what, row, () => ways] as const),
  ])('%s', async (_what, row, site) => {
    const message = row.message(most);
    const { mailbox } = row;
    const sent = await site().send(way, message, [ANN], mailbox === undefined ? {} : { mailbox });
    const outcome = refusal(sent) ?? (await arrived(sent, message));
    const cells = sizes.get(row) ?? {};
    cells[way] = outcome;
    expect(outcome).toEqual(row.otherwise?.[way] ?? 'kept');
    expect(site().sandbox.mailbox(mailbox ?? 'sender@contoso.test').drafts).toEqual([]);

    /** A draft shows in that the mark of what goes as MIME is not there. */
    async function arrived({ copies: [copy = Buffer.alloc(0)] }: Sent, original: Buffer): Promise<Outcome> {
      const [given, found] = await Promise.all([copyOf(original), copyOf(copy)]);
      const content = ({ mail }: typeof given): string =>
        [mail.text?.trim() ?? '', ...mail.attachments.map(({ content: octets }) => octets.toString('latin1'))].join('');
      expect(content(found) === content(given)).toBe(true);
      const isDraft = way === 'graph' && fieldsOf(copy, 'x-smtp2exchange-id').length === 0;
      return outcomeOf(isDraft ? 'draft' : 'whole', 'whole', row.otherwise?.[way]);
    }
  });
});

const BEGIN =
  '<!-- From here to the end mark written by `npx vitest run test/ways -u`: what test/ways measured, the last columns aside -->\n';
const END = '<!-- end -->\n';

it('docs/transports.md has what was measured', async () => {
  const file = join(import.meta.dirname, '../../docs/transports.md');
  const text = readFileSync(file, 'utf8');
  const [before = '', rest = ''] = text.split(BEGIN);
  const after = rest.slice(rest.indexOf(END) + END.length);
  expect([text.split(BEGIN).length, rest.split(END).length]).toEqual([2, 2]);
  await expect(`${before}${BEGIN}\n${renderTables(measured, sizes)}\n${END}${after}`).toMatchFileSnapshot(file);
});
