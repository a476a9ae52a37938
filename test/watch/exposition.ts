/** Reads Prometheus' text format, as far as the tests need it. */

/** Series (`name{label="value"}`, labels sorted) to value. */
export function series(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name = '', labels = '', value = ''] = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
    if (name === '') throw new Error(`not a sample: ${line}`);
    const sorted = [...labels.matchAll(/\w+="(?:[^"\\]|\\.)*"/g)].map(([label]) => label).toSorted();
    const key = sorted.length === 0 ? name : `${name}{${sorted.join(',')}}`;
    if (found.has(key)) throw new Error(`twice: ${key}`);
    found.set(key, Number(value));
  }
  return found;
}

/** The text without the label that every series of a gateway has: the name of its spool. */
export function withoutSpool(text: string): string {
  return text.replaceAll(/\{spool="[^"]*"\}|,spool="[^"]*"|(?<=\{)spool="[^"]*",/g, '');
}

/** What changed, one line a series: `name{...} +1` or, for a new one, `name{...} = 1`; without the buckets of histograms. */
export function changes(before: string, after: string): string[] {
  const old = series(withoutSpool(before));
  const lines: string[] = [];
  for (const [key, value] of series(withoutSpool(after))) {
    if (!key.startsWith('smtp2exchange_') || /_bucket\{/.test(key)) continue;
    const was = old.get(key);
    const difference = Math.round((value - (was ?? 0)) * 1e6) / 1e6;
    if (was === undefined) lines.push(`${key} = ${value}`);
    else if (difference !== 0) lines.push(`${key} ${difference > 0 ? '+' : ''}${difference}`);
  }
  return lines.map((line) => line.slice('smtp2exchange_'.length)).toSorted();
}
