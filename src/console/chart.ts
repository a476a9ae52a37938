/** A bar for each minute of the last hour, as SVG that says the same in words. Pure; never fails. */
import { clock, count, countOf } from './figures.ts';
import type { Markup } from './markup.ts';
import { markup } from './markup.ts';

export interface Series {
  /** Of the element: unique on its page. */
  readonly id: string;
  /** `Accepted`. */
  readonly title: string;
  /** Counts, oldest first. */
  readonly values: readonly number[];
  /** The beginning of the last minute, epoch milliseconds. */
  readonly endsAt: number;
  readonly kind: 'accepted' | 'delivered' | 'failed';
}

const WIDTH = 300;
const HEIGHT = 56;
const GAP = 1;
const MINUTE = 60_000;

export function chart({ id, title, values, endsAt, kind }: Series): Markup {
  const most = Math.max(...values, 0);
  const total = values.reduce((sum, value) => sum + value, 0);
  const step = WIDTH / Math.max(1, values.length);
  const at = (index: number): string => clock(endsAt - (values.length - 1 - index) * MINUTE);
  const bars = values.map((value, index) => {
    if (value === 0) return undefined;
    const height = Math.max(2, Math.round((value / most) * (HEIGHT - 4)));
    return markup`<rect x="${(index * step).toFixed(1)}" y="${HEIGHT - height}" width="${(step - GAP).toFixed(1)}" height="${height}"><title>${at(index)}: ${count(value)}</title></rect>`;
  });
  const peak =
    most === 0 ? 'nothing in the last hour' : `most in a minute ${count(most)}, at ${at(values.indexOf(most))}`;
  return markup`<figure class="chart chart-${kind}" id="${id}">
  <figcaption><span class="chart-title">${title}</span> <strong>${count(total)}</strong> <span class="quiet">in the last hour, ${most === 0 ? 'none' : countOf(most, 'a minute').replace(/s$/, '')} at most</span></figcaption>
  <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-labelledby="${id}-text" focusable="false"><title id="${id}-text">${title}: ${count(total)} in the last hour, ${peak}</title><line x1="0" y1="${HEIGHT}" x2="${WIDTH}" y2="${HEIGHT}"></line>${bars}</svg>
  <div class="chart-axis quiet" aria-hidden="true"><span>${at(0)}</span><span>${at(values.length - 1)}</span></div>
</figure>`;
}
