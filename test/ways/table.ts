/** The tables of docs/transports.md as text. */
import type { Otherwise, Row } from './rows.ts';
import { ROWS } from './rows.ts';
import type { SizeRow, SizeWay } from './sizes.ts';
import { SIZE_WAYS, SMALL_ROWS, USUAL_ROWS } from './sizes.ts';
import type { Way } from './site.ts';
import { WAYS } from './site.ts';

export type Outcome = Otherwise | 'kept';
export type Measured<Name extends string> = ReadonlyMap<object, Partial<Record<Name, Outcome>>>;

const COLUMNS: Readonly<Record<Way, string>> = {
  ews: '`ews`',
  graph: '`graph` up to 3 MB (MIME)',
  draft: '`graph` above (draft)',
  smtp: '`smtp`',
};
const BY_EXCHANGE = 'Exchange Online, by its documentation (not tried)';

function cell(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'not measured';
  if (outcome === 'kept') return 'yes';
  if (outcome === 'lost') return 'no';
  return 'refused' in outcome ? `refused (${outcome.refused})` : outcome.words;
}

/** Of what Exchange does not leave as it was handed it. */
function handed(outcome: Outcome | undefined): string {
  return outcome === 'kept' ? 'handed over →' : cell(outcome);
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

export function renderTables(rows: Measured<Way>, sizes: Measured<SizeWay>): string {
  const head = (names: readonly string[]): string[] => [
    line(['', ...names, BY_EXCHANGE]),
    `|${'---|'.repeat(names.length + 2)}`,
  ];
  const row = (one: Row): string =>
    line([
      one.what,
      ...WAYS.map((way) => (one.isRemade && way !== 'smtp' ? handed : cell)(rows.get(one)?.[way])),
      one.exchange ?? '',
    ]);
  const size = (one: SizeRow): string =>
    line([one.what, ...SIZE_WAYS.map((way) => cell(sizes.get(one)?.[way])), one.exchange ?? '']);
  const groups = [...new Set(ROWS.map(({ group }) => group))];
  return [
    ...head(WAYS.map((way) => COLUMNS[way])),
    ...groups.flatMap((group) => [
      line([`**${group}**`, ...WAYS.map(() => ''), '']),
      ...ROWS.filter((one) => one.group === group).map(row),
    ]),
    '',
    ...head(SIZE_WAYS.map((way) => `\`${way}\``)),
    ...[...SMALL_ROWS, ...USUAL_ROWS].map(size),
    '',
  ].join('\n');
}
