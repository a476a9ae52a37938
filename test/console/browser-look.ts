/** What can be told of a page by looking at it: accessible names and contrasts, what overflows, what is too small, where Tab leads. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** CSS pixels: WCAG 2.2, success criterion 2.5.8. */
const TARGET = 24;
/** Presses of Tab that are enough for any page of the console. */
const MOST_STOPS = 400;

/** What axe-core finds wrong, one line each, `serious` and `critical` only. */
export async function axeFaults(page: Page): Promise<readonly string[]> {
  await page.evaluate(AXE);
  return await page.evaluate(async () => {
    interface Result {
      readonly id: string;
      readonly impact?: string;
      readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
    }
    const { axe } = globalThis as unknown as {
      axe: { run(options: object): Promise<{ violations: readonly Result[] }> };
    };
    const { violations } = await axe.run({ iframes: false });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`),
      );
  });
}

/** Elements that stand out of the window to the right; none: the page cannot be moved sideways. */
export async function overflowing(page: Page): Promise<readonly string[]> {
  return await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')]
      .filter((element) => element.getBoundingClientRect().right > width + 1)
      .map((element) => `${element.tagName}#${element.id}.${element.className}`)
      .slice(0, 5)
      .concat(`the page is ${document.documentElement.scrollWidth} of ${width} px wide`);
  });
}

/** Buttons, fields and links that are hard to hit; links inside a sentence are exempt (WCAG 2.5.8, "Inline"). */
export async function smallTargets(page: Page): Promise<readonly string[]> {
  const small = await page.evaluate((least) => {
    const isInline = (element: Element): boolean =>
      element.matches('a') &&
      getComputedStyle(element).display === 'inline' &&
      element.closest('p, dd, li, td, th, h2, span') !== null &&
      (element.closest('p, dd, li, td, th, h2, span')?.textContent ?? '').trim() !== (element.textContent ?? '').trim();
    return [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')].flatMap(
      (element) => {
        // A label is a part of what it labels.
        const target = element.closest('label') ?? element;
        const { width, height } = target.getBoundingClientRect();
        const isHidden =
          width === 0 || element.closest('.visually-hidden, .skip') !== null || !element.checkVisibility();
        if (isHidden || isInline(element) || (width >= least && height >= least)) return [];
        return [
          `${element.tagName}#${element.id} "${(element.textContent ?? '').trim().slice(0, 30)}" ${width.toFixed(1)} x ${height.toFixed(1)}`,
        ];
      },
    );
  }, TARGET);
  return [...new Set(small)];
}

export interface TabOrder {
  /** In the order of Tab. */
  readonly reached: readonly string[];
  /** What could take the focus and never got it; what got it and did not show it; what was hidden by something else then. */
  readonly faults: readonly string[];
}

/** Goes through the page with Tab alone, from where its focus is when it is opened. */
export async function tabOrder(page: Page, within = 'body'): Promise<TabOrder> {
  const wanted = await page.evaluate((where) => {
    let number = 0;
    const all =
      document
        .querySelector(where)
        ?.querySelectorAll<HTMLElement>('a[href], button, input, select, summary, iframe, [tabindex="0"]') ?? [];
    return [...all].flatMap((element) => {
      const isOff =
        element.matches('[type=hidden], :disabled, [tabindex="-1"]') ||
        !element.checkVisibility({ visibilityProperty: true });
      if (isOff) return [];
      element.dataset['stop'] = String(++number);
      return [`${number} ${element.tagName}#${element.id} ${(element.textContent ?? '').trim().slice(0, 30)}`];
    });
  }, within);
  const reached: string[] = [];
  const faults: string[] = [];
  let leaves = 0;
  for (let press = 0; press < MOST_STOPS; press++) {
    if (press > 0) await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement | null;
      if (element === null || element === document.body) return undefined;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      const x = Math.min(Math.max(box.left + box.width / 2, 0), innerWidth - 1);
      const y = Math.min(Math.max(box.top + Math.min(box.height / 2, 10), 0), innerHeight - 1);
      const onTop = document.elementFromPoint(x, y);
      const isSeen =
        onTop !== null &&
        (element.contains(onTop) || onTop.contains(element) || element.closest('label')?.contains(onTop) === true);
      return {
        name: `${element.dataset['stop'] ?? '?'} ${element.tagName}#${element.id} ${(element.textContent ?? '').trim().slice(0, 30)}`,
        isMarked: element.tagName === 'IFRAME' || (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2),
        isSeen: element.tagName === 'IFRAME' || isSeen,
        inFrame: element.tagName === 'IFRAME',
      };
    });
    // Before the first, or between the last one and the browser's own fields, behind which a dialog begins anew.
    if (stop === undefined) {
      if (press > 0 && (within === 'body' || leaves++ > 0)) break;
      continue;
    }
    if (reached.length > 1 && stop.name === reached[0]) break;
    if (stop.name === reached.at(-1)) {
      // Stops inside of a frame belong to the frame; anything else that keeps the focus is a trap.
      if (stop.inFrame) continue;
      faults.push(`Tab does not leave ${stop.name}`);
      break;
    }
    reached.push(stop.name);
    if (!stop.isMarked) faults.push(`does not show that it has the focus: ${stop.name}`);
    if (!stop.isSeen) faults.push(`is covered while it has the focus: ${stop.name}`);
  }
  const missing = wanted.filter((name) => !reached.includes(name)).map((name) => `not reached by Tab: ${name}`);
  const numbers = reached.map((name) => Number(name.split(' ')[0])).filter((number) => !Number.isNaN(number));
  const isInOrder = within !== 'body' || numbers.every((number, at) => at === 0 || number > (numbers[at - 1] ?? 0));
  return {
    reached,
    faults: [
      ...faults,
      ...missing,
      ...(isInOrder ? [] : [`the order of Tab is not that of the page: ${numbers.join(' ')}`]),
    ],
  };
}

/** Whatever moves by itself. */
export async function moving(page: Page): Promise<readonly string[]> {
  return await page.evaluate(() =>
    [...document.querySelectorAll('*')].flatMap((element) => {
      const { transitionDuration, animationName } = getComputedStyle(element);
      const isStill =
        transitionDuration.split(', ').every((time) => parseFloat(time) === 0) && animationName === 'none';
      return isStill ? [] : [`${element.tagName}#${element.id}: ${transitionDuration} ${animationName}`];
    }),
  );
}
