/** How an operator comes in and goes: logins right and wrong, logging out, a session that ends by itself. */
import { faultsOf, unless } from './browser-run.ts';
import type { Run, Window } from './browser-run.ts';
import { OPERATOR, TOKEN } from './browser-site.ts';
import { USER, openSite } from './site.ts';

export async function logins(run: Run): Promise<void> {
  const { url, gateway } = run.site;
  const { page, context, notes } = await run.open({}, false);
  await run.check('a stranger gets the login only, and comes to the page he asked for after it', async () => {
    await page.goto(`${url}/messages?q=alice`);
    const faults = unless(page.url().startsWith(`${url}/login?next=`), `is at ${page.url()}`);
    const text = (await page.textContent('body')) ?? '';
    return [...faults, ...unless(!text.includes('contoso.com'), 'the page tells of mail')];
  });
  await run.check('a wrong password is told without saying what was wrong, and each answer takes longer', async () => {
    const times: number[] = [];
    const texts: string[] = [];
    for (const [user, secret] of [
      [OPERATOR.name, 'a guess'],
      ['nobody', 'a guess'],
    ] as const) {
      await page.fill('#login-name', user);
      await page.fill('#login-secret', secret);
      const begun = performance.now();
      await Promise.all([page.waitForNavigation(), page.click('#login')]);
      times.push(performance.now() - begun);
      texts.push((await page.textContent('#login-problem')) ?? '');
    }
    await run.picture(page, 'login-wrong');
    await gateway.line((line) => line.event === 'auth.failed' && line['user'] === OPERATOR.name);
    const [first = 0, second = 0] = times;
    return [
      ...unless(texts[0] === texts[1] && texts[0] !== '', `says ${texts.join(' / ')}`),
      ...unless(first >= 900 && second >= 1_900, `answered after ${times.map(Math.round).join(' and ')} ms`),
      ...unless((await page.inputValue('#login-secret')) === '', 'the password is in the page again'),
    ];
  });
  await run.check(
    'the right one leads on, its cookie cannot be read by scripts, and the log names the user',
    async () => {
      await page.fill('#login-name', OPERATOR.name);
      await page.fill('#login-secret', OPERATOR.password);
      await page.press('#login-secret', 'Enter');
      await page.waitForURL(`${url}/messages?q=alice`);
      await gateway.line((line) => line.event === 'auth.succeeded' && line['user'] === OPERATOR.name);
      const [cookie] = await context.cookies();
      return [
        ...unless(cookie?.httpOnly === true && cookie.sameSite === 'Strict', JSON.stringify({ ...cookie, value: '' })),
        ...unless((await page.evaluate(() => document.cookie)) === '', 'a script sees a cookie'),
      ];
    },
  );
  await context.clearCookies();
  await run.check('the token is a login without a name', async () => {
    await page.goto(url);
    await page.fill('#login-secret', TOKEN);
    await page.click('#login');
    await page.waitForURL(`${url}/`);
    return unless((await page.textContent('#user')) === 'token', 'is somebody else');
  });
  await run.check('the browser complains of nothing but the refused logins', async () =>
    faultsOf({ ...notes, errors: notes.errors.filter((text) => !text.includes('403')) }, url),
  );
  await context.close();
}

export async function leaving(run: Run, { page, context }: Window): Promise<void> {
  const { url, hostile } = run.site;
  await run.check(
    'logged out, an open overview shows nothing new, Back shows nothing old, the cookie is worth nothing',
    async () => {
      await page.goto(`${url}/`);
      const other = await context.newPage();
      await other.goto(`${url}/messages/${hostile}`);
      const [cookie] = await context.cookies();
      await other.click('#logout');
      await other.waitForURL(`${url}/login`);
      await other.goBack();
      const back = other.url();
      if (cookie !== undefined) await context.addCookies([cookie]);
      await other.goto(`${url}/messages`);
      const again = other.url();
      // The next refresh finds that the session is over.
      await page.waitForURL(`${url}/login`, { timeout: 15_000 });
      return [
        ...unless(back.startsWith(`${url}/login`), `Back leads to ${back}`),
        ...unless(again.startsWith(`${url}/login`), `the old cookie leads to ${again}`),
      ];
    },
  );
  await context.close();
}

/** With a clock of its own: a console whose sessions end when nothing was asked for a minute. */
export async function timeOut(run: Run): Promise<void> {
  let now = 0;
  const site = await openSite({ sessions: { idle: 60_000, lasts: 600_000, steady: () => now } });
  const { page, context } = await run.open({}, false);
  await run.check('a session ends by itself: pages that refresh themselves do not keep it', async () => {
    await page.goto(`${site.url}/login`);
    await page.fill('#login-name', USER.name);
    await page.fill('#login-secret', USER.password);
    await page.click('#login');
    await page.waitForURL(`${site.url}/`);
    now = 45_000;
    const refreshed = await page.waitForResponse(`${site.url}/live`);
    now = 75_000;
    await page.waitForURL(`${site.url}/login`, { timeout: 15_000 });
    return unless(refreshed.status() === 200, `the page was refused too early: ${refreshed.status()}`);
  });
  await context.close();
  await site.close();
}
