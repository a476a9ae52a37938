/** What an operator does: log in, look for a mail, read its story, repair it, leave; by mouse, by keyboard, without scripts. */
import type { Page } from 'playwright-core';
import { leaving, logins, timeOut } from './browser-logins.ts';
import { faultsOf, unless } from './browser-run.ts';
import type { Run, Window } from './browser-run.ts';
import { OPERATOR, PARKED } from './browser-site.ts';

export async function orders(run: Run): Promise<void> {
  await logins(run);
  const window = await run.open();
  await searches(run, window);
  await repairs(run, window);
  await byKeyboard(run);
  await withoutScripts(run);
  await run.check('nothing but the console was asked, and the browser has nothing to complain of', async () =>
    faultsOf(window.notes, run.site.url),
  );
  await leaving(run, window);
  await timeOut(run);
}

async function searches(run: Run, { page }: Window): Promise<void> {
  const { url, delivered, parked } = run.site;
  const find = async (question: string): Promise<readonly string[]> => {
    await page.goto(`${url}/messages`);
    await page.fill('#question', question);
    await page.press('#question', 'Enter');
    await page.waitForURL(/[?&]q=/);
    return await page.locator('#messages tbody tr').evaluateAll((rows) => rows.map((row) => row.id.slice(8)));
  };
  await run.check('where is the mail to bob of this morning?', async () => {
    const found = await find('where is the mail to bob of this morning?');
    await run.picture(page, 'search');
    const understood = (await page.textContent('#understood')) ?? '';
    return [
      ...unless(found.length === 1 && found[0] === delivered[1], `found ${found.join(' ')}`),
      ...unless(/to bob.*this morning/.test(understood), `understood ${understood}`),
    ];
  });
  await run.check('parked mail from erp; a Message-ID; an id; nothing', async () => {
    const byState = await find('from:erp state:parked to:dora');
    const byMessageId = await find('<invoice-1@contoso.com>');
    const byId = await find(parked[2] ?? '');
    const none = await find('to nobody@nowhere.example');
    const hostile = await find('"><script>alert(1)</script> \u202E');
    return [
      ...unless(byState.join() === parked[1], `by state: ${byState.join(' ')}`),
      ...unless(byMessageId.join() === parked[0], `by Message-ID: ${byMessageId.join(' ')}`),
      ...unless(byId.join() === parked[2], `by id: ${byId.join(' ')}`),
      ...unless(none.length === 0 && hostile.length === 0, `found ${none.join(' ')} ${hostile.join(' ')}`),
    ];
  });
  await run.check('the story of a delivered message, step by step', async () => {
    await page.goto(`${url}/messages`);
    await page.click(`#message-${delivered[0]} a`);
    const chapters = await page.locator('#timeline strong').allTextContents();
    return unless(chapters[0] === 'Accepted' && chapters.at(-1) === 'Delivered', chapters.join(', '));
  });
}

/** Chooses an order on the page of a message and answers the question. */
async function order(page: Page, act: string, answer: 'yes' | 'no' | 'Escape'): Promise<void> {
  await page.click(`#acts button[value=${act}]`);
  await page.waitForSelector('#dialog[open]');
  if (answer === 'Escape') await page.keyboard.press('Escape');
  else await page.click(`#dialog #confirm-${answer}`);
  if (answer === 'yes') await page.waitForSelector('#flash');
  else await page.waitForSelector('#dialog', { state: 'detached' });
}

async function repairs(run: Run, { page }: Window): Promise<void> {
  const { url, sandbox, parked, queued } = run.site;
  const [first = '', second = '', third = ''] = parked;
  const badge = async (): Promise<string> => (await page.textContent('.lead .badge')) ?? '';
  await run.check('a parked message is tried again, and is delivered', async () => {
    sandbox.clearFaults();
    sandbox.fault({ when: { mailbox: 'slow@contoso.com' }, does: { responseCode: 'ErrorServerBusy' } });
    await page.goto(`${url}/messages/${first}`);
    const why = (await page.textContent('#timeline')) ?? '';
    await page.click('#acts button[value=retry]');
    await page.waitForSelector('#dialog[open]');
    await run.picture(page, 'confirm-dialog', false);
    await page.click('#dialog #confirm-yes');
    await page.waitForSelector('#flash');
    await run.audit('item.retried', first);
    await run.site.gateway.line((line) => line.event === 'delivery.relayed' && line['id'] === first);
    await page.reload();
    const arrived = sandbox.arrived().filter(({ mailbox }) => mailbox === PARKED).length;
    return [
      ...unless(why.includes('ErrorInvalidRecipients'), `the story does not say why: ${why}`),
      ...unless((await badge()) === 'relayed', `is ${await badge()}`),
      ...unless(arrived === 1, `${arrived} arrived`),
      ...unless(((await page.textContent('#timeline')) ?? '').includes(OPERATOR.name), 'the story does not say who'),
    ];
  });
  await run.check(
    'drop asks first: Escape and Cancel change nothing, yes drops, and who did it stands in the log',
    async () => {
      await page.goto(`${url}/messages/${second}`);
      await order(page, 'drop', 'Escape');
      await order(page, 'drop', 'no');
      await page.reload();
      const before = await badge();
      await order(page, 'drop', 'yes');
      await run.audit('item.dropped', second);
      return [
        ...unless(before === 'parked', `was ${before}`),
        ...unless((await badge()) === 'dropped', `is ${await badge()}`),
      ];
    },
  );
  await run.check('what waits is held, and released', async () => {
    await page.goto(`${url}/messages/${queued[0]}`);
    await order(page, 'hold', 'yes');
    const held = await badge();
    await run.audit('item.held', queued[0] ?? '');
    await order(page, 'release', 'yes');
    await run.audit('item.retried', queued[0] ?? '');
    return [...unless(held === 'parked', `is ${held}`), ...unless((await badge()) !== 'parked', 'is parked still')];
  });
  await run.check('several are ticked and held at once; nothing ticked is told', async () => {
    await page.goto(`${url}/messages?q=from:slow`);
    await page.click('#found button[value=hold]');
    await page.waitForSelector('#dialog[open]');
    const told = (await page.textContent('#dialog')) ?? '';
    await page.keyboard.press('Escape');
    await page.check('#choose-all');
    await page.click('#found button[value=hold]');
    await page.click('#dialog #confirm-yes');
    await page.waitForSelector('#flash');
    const flash = (await page.textContent('#flash')) ?? '';
    return [
      ...unless(told.includes('No message is chosen'), told),
      ...unless(flash.startsWith('2 messages held'), flash),
    ];
  });
  await run.check('a message is downloaded, and that stands in the log', async () => {
    await page.goto(`${url}/messages/${third}`);
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')]);
    await run.audit('item.exported', third);
    return unless(download.suggestedFilename() === `${third}.eml`, download.suggestedFilename());
  });
  await run.check('a pickup is looked into', async () => {
    await page.goto(`${url}/pickups`);
    await page.click('#pickup-fax button');
    await page.waitForSelector('#flash');
    return unless(((await page.textContent('#flash')) ?? '').includes('being looked into'), 'does not say so');
  });
}

async function byKeyboard(run: Run): Promise<void> {
  const { url, parked } = run.site;
  const third = parked[2] ?? '';
  const { page, context } = await run.open({}, false);
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.id ?? '');
  /** Presses Tab until that has the focus. */
  const to = async (selector: string): Promise<void> => {
    for (let press = 0; press < 200; press++) {
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted) === true, selector)) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`Tab does not lead to ${selector}`);
  };
  await run.check('by keyboard alone: log in, skip to the content, find, open', async () => {
    await page.goto(`${url}/`);
    const start = await focused();
    await page.keyboard.type(OPERATOR.name);
    await page.keyboard.press('Tab');
    await page.keyboard.type(OPERATOR.password);
    await page.keyboard.press('Enter');
    await page.waitForURL(`${url}/`);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    const skipped = await focused();
    await to('header a[href="/messages"]');
    await page.keyboard.press('Enter');
    await page.waitForURL(`${url}/messages`);
    await to('#question');
    await page.keyboard.type(`to emil`);
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=to/);
    await to(`#message-${third} a`);
    await page.keyboard.press('Enter');
    await page.waitForURL(`${url}/messages/${third}`);
    return [
      ...unless(start === 'login-name', `the page begins at #${start}`),
      ...unless(skipped === 'content', `skipping leads to #${skipped}`),
    ];
  });
  await run.check(
    'by keyboard alone: an order is asked about in a dialog that holds the focus and gives it back',
    async () => {
      await to('#acts button[value=drop]');
      await page.keyboard.press('Enter');
      await page.waitForSelector('#dialog[open]');
      const inside: boolean[] = [];
      for (let press = 0; press < 8; press++) {
        await page.keyboard.press('Tab');
        // Beside the dialog only the browser's own fields take the focus.
        inside.push(
          await page.evaluate(
            () => document.activeElement === document.body || document.activeElement?.closest('#dialog') != null,
          ),
        );
      }
      await page.keyboard.press('Escape');
      await page.waitForSelector('#dialog', { state: 'detached' });
      const back = await page.evaluate(() => (document.activeElement as HTMLButtonElement | null)?.value ?? '');
      await page.keyboard.press('Space');
      await page.waitForSelector('#dialog[open]');
      await to('#confirm-no');
      await page.keyboard.press('Enter');
      await page.waitForSelector('#dialog', { state: 'detached' });
      await to('#acts button[value=drop]');
      await page.keyboard.press('Space');
      await page.waitForSelector('#dialog[open]');
      await to('#confirm-yes');
      await page.keyboard.press('Enter');
      await page.waitForSelector('#flash');
      await run.audit('item.dropped', third);
      const told = await focused();
      return [
        ...unless(told === 'flash', `after the order the focus is at #${told}`),
        ...unless(inside.every(Boolean), 'Tab leaves the dialog'),
        ...unless(back === 'drop', `Escape gives the focus to ${back}`),
      ];
    },
  );
  await context.close();
}

async function withoutScripts(run: Run): Promise<void> {
  const { url, hostile } = run.site;
  const { page, context, notes } = await run.open({ javaScriptEnabled: false });
  await run.check('without scripts: find, story, content, hold after a page that asks, release, log out', async () => {
    await page.fill('#question', 'x').catch(() => undefined);
    await page.click('header a[href="/messages"]');
    await page.fill('#question', 'to victim');
    await page.click('#find');
    await page.click(`#message-${hostile} a`);
    await page.click('#acts button[value=drop]');
    const asks = (await page.textContent('#confirm-title')) ?? '';
    await run.picture(page, 'confirm-page');
    await page.click('#confirm-no');
    await page.waitForURL(`${url}/messages/${hostile}`);
    const before = (await page.textContent('.lead .badge')) ?? '';
    await page.click('#acts button[value=move]');
    await page.click('#confirm-no');
    await page.click('#preview');
    const text = (await page.textContent('#text')) ?? '';
    await page.goto(`${url}/messages?state=queued&state=parked`);
    await page.check(`#message-${hostile} input`);
    await page.click('#found button[value=export]');
    const exports = (await page.textContent('#confirm-title')) ?? '';
    await page.click('#logout');
    await page.waitForURL(`${url}/login`);
    return [
      ...unless(asks.startsWith('Drop: 1 message'), asks),
      ...unless(before === 'parked', `is ${before}`),
      ...unless(text.includes('Plain'), `the content is ${text}`),
      ...unless(exports.startsWith('Export: 1 message'), exports),
      ...faultsOf({ ...notes, errors: [] }, url),
    ];
  });
  await context.close();
}
