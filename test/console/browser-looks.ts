/** Every page as it looks: light and dark, wide, on a phone, enlarged, with less motion; for eyes, for axe-core, for fingers, for the keyboard. */
import type { BrowserContextOptions, Page } from 'playwright-core';
import { axeFaults, moving, overflowing, smallTargets, tabOrder } from './browser-look.ts';
import { faultsOf, unless } from './browser-run.ts';
import type { Run } from './browser-run.ts';
import { SLOW } from './browser-site.ts';

interface View {
  readonly name: string;
  readonly path: string;
  readonly isPublic?: true;
  /** What is done before it is looked at. */
  readonly first?: (page: Page) => Promise<unknown>;
}

const PHONE = { width: 390, height: 844 };
const MORE_THAN_A_PAGE = 55;

export async function looks(run: Run): Promise<void> {
  const { hostile, delivered, queued, send } = run.site;
  for (let number = 0; number < MORE_THAN_A_PAGE; number++) await send(SLOW, 'alice@contoso.com', `report ${number}`);
  const views: readonly View[] = [
    { name: 'login', path: '/login', isPublic: true },
    { name: 'overview', path: '/' },
    { name: 'messages', path: '/messages' },
    {
      name: 'filters',
      path: '/messages?state=parked&from=contoso',
      first: (page) => page.locator('#filters').evaluate((details: HTMLDetailsElement) => (details.open = true)),
    },
    { name: 'found-nothing', path: '/messages?q=to+nobody@nowhere.example+yesterdayish:x' },
    { name: 'story', path: `/messages/${delivered[0]}` },
    { name: 'story-parked', path: `/messages/${hostile}` },
    { name: 'preview', path: `/messages/${hostile}/preview`, first: (page) => page.waitForLoadState('networkidle') },
    { name: 'confirm', path: `/acts?act=move&id=${queued[1]}&id=${hostile}` },
    {
      name: 'dialog',
      path: `/messages/${hostile}`,
      first: async (page) => {
        // By keyboard: after a click, browsers do not mark what has the focus.
        await page.press('#acts button[value=drop]', 'Enter');
        await page.waitForSelector('#dialog[open]');
      },
    },
    { name: 'pickups', path: '/pickups' },
    { name: 'not-there', path: '/nothing' },
  ];
  for (const scheme of ['light', 'dark'] as const) {
    await through(run, views, `${scheme}, wide`, { colorScheme: scheme }, async (page, name) => {
      await run.picture(page, `${name}-${scheme}`, name !== 'dialog');
      return [...(await axeFaults(page)), ...(await overflowing(page))];
    });
    await through(
      run,
      views,
      `${scheme}, 390 px`,
      { colorScheme: scheme, viewport: PHONE, hasTouch: true },
      async (page, name) => {
        if (scheme === 'light') await run.picture(page, `${name}-390`, name !== 'dialog');
        return [...(await axeFaults(page)), ...(await overflowing(page)), ...(await smallTargets(page))];
      },
    );
  }
  await through(
    run,
    views,
    'zoomed to 200 %',
    { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 },
    async (page, name) => {
      if (name === 'messages') await run.picture(page, 'messages-zoomed', false);
      return await overflowing(page);
    },
  );
  await through(run, views, '320 px (400 %)', { viewport: { width: 320, height: 640 } }, overflowing);
  await through(run, views, 'text twice as large', {}, async (page) => {
    await page.locator('html').evaluate((html) => (html.style.fontSize = '200%'));
    return await overflowing(page);
  });
  await through(run, views, 'less motion', { reducedMotion: 'reduce' }, moving);
  await through(
    run,
    views,
    'by Tab, wide',
    {},
    async (page, name) => (await tabOrder(page, name === 'dialog' ? '#dialog' : 'body')).faults,
  );
  await through(
    run,
    views,
    'by Tab, 390 px',
    { viewport: PHONE },
    async (page, name) => (await tabOrder(page, name === 'dialog' ? '#dialog' : 'body')).faults,
  );
  await trouble(run);
}

/** Every page in a window of that kind. */
async function through(
  run: Run,
  views: readonly View[],
  kind: string,
  options: BrowserContextOptions,
  look: (page: Page, name: string) => Promise<readonly string[]>,
): Promise<void> {
  const { url } = run.site;
  await run.check(`${kind}: every page`, async () => {
    const { page, context, notes } = await run.open(options);
    const faults: string[] = [];
    for (const { name, path, first } of views) {
      await page.goto(url + path);
      await first?.(page);
      faults.push(...(await look(page, name)).map((fault) => `${name}: ${fault}`));
    }
    await context.close();
    const errors = notes.errors.filter((text) => !text.includes('/html') && !text.includes('404'));
    return [...faults, ...faultsOf({ ...notes, errors }, url)];
  });
}

/** What the operator sees first when Exchange is closed to the gateway. */
async function trouble(run: Run): Promise<void> {
  const { sandbox, gateway, send } = run.site;
  await run.check('trouble stands at the top, with what to do about it', async () => {
    sandbox.openEws(false);
    await send('scanner@contoso.com', 'alice@contoso.com', 'into trouble');
    await gateway.line((line) => line.event === 'route.held');
    const { page, context } = await run.open();
    await page.waitForSelector('#health .problem-critical');
    const faults: string[] = [];
    for (const scheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      await run.picture(page, `trouble-${scheme}`);
      faults.push(...(await axeFaults(page)));
    }
    await page.setViewportSize(PHONE);
    await run.picture(page, 'trouble-390');
    faults.push(...(await overflowing(page)), ...(await smallTargets(page)));
    const title = (await page.title()) ?? '';
    await context.close();
    return [...faults, ...unless(/^\(\d+\) /.test(title), `the window is called ${title}`)];
  });
}
