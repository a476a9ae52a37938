/** What hostile mail and hostile pages do to an operator who is logged in. Nothing, that is. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { faultsOf, foreign, unless } from './browser-run.ts';
import type { Run } from './browser-run.ts';
import { OPERATOR, TOKEN } from './browser-site.ts';

export async function attacks(run: Run): Promise<void> {
  await hostileMail(run);
  await otherPages(run);
  await otherNames(run);
}

/** Markup of mail that became markup of ours. */
async function grown(page: Page): Promise<readonly string[]> {
  return await page.evaluate(() =>
    [...document.querySelectorAll('*')].flatMap((element) => {
      const active = [...element.attributes].filter(({ name }) => name.startsWith('on'));
      const isOurs =
        element.matches('script[src="/assets/console.js"]') || !element.matches('script, object, embed, base, style');
      return active.length === 0 && isOurs ? [] : [`a part of the page: ${element.outerHTML.slice(0, 200)}`];
    }),
  );
}

async function hostileMail(run: Run): Promise<void> {
  const { url, hostile, trap } = run.site;
  const { page, context, notes } = await run.open();
  const here = `${url}/messages/${hostile}`;
  await run.check('hostile words in every field stay words: list, story, orders, overview', async () => {
    const faults: string[] = [];
    for (const path of [
      '/messages?q=to+victim',
      `/messages/${hostile}`,
      `/acts?act=drop&id=${hostile}`,
      `/acts?act=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&id=${hostile}&back=javascript:alert(1)`,
      '/messages?q=%22%3E%3Cimg+src=x+onerror=alert(1)%3E&to=%3Csvg+onload=alert(2)%3E&state=%3Cb%3E',
      '/',
      `/${encodeURIComponent('<script>alert(1)</script>')}`,
    ]) {
      await page.goto(url + path);
      faults.push(...(await grown(page)).map((fault) => `${path}: ${fault}`));
      const links = await page.locator('a').evaluateAll((all) => all.map((one) => (one as HTMLAnchorElement).href));
      faults.push(...links.filter((to) => !to.startsWith(`${url}/`)).map((to) => `${path}: leads to ${to}`));
    }
    await page.goto(here);
    const title = (await page.textContent('h1')) ?? '';
    return [
      ...faults,
      ...unless(title.includes('<script>alert("subject")</script>'), `the title is ${title}`),
      ...unless(title.includes('U+202E') && !/[\p{Cc}\p{Cf}]/u.test(title), 'hidden characters are hidden'),
      ...faultsOf({ ...notes, errors: notes.errors.filter((text) => !text.includes('404')) }, url),
    ];
  });
  notes.errors.length = 0;
  await run.check('its content: nothing runs, nothing is loaded, nothing leaves', async () => {
    await page.click('#preview');
    await page.waitForURL(`${here}/preview`);
    await run.audit('item.viewed', hostile);
    await page.locator('#html').scrollIntoViewIfNeeded();
    const frame = page.frameLocator('#html');
    await frame.locator('#harmless').waitFor();
    await page.waitForLoadState('networkidle');
    await run.picture(page, 'preview-hostile');
    const faults = [...(await grown(page))];
    const names = (await page.locator('#attachments strong').allTextContents()).join(' ');
    const left = foreign(notes.requests, url).filter((address) => !notes.stopped.includes(address));
    return [
      ...faults,
      ...left.map((address) => `asked for ${address}`),
      ...notes.dialogs,
      ...notes.popups,
      ...unless(notes.stopped.length > 0, 'no request was even tried: the mail is not what it should be'),
      ...unless(/invoice.*U\+202E.*fdp\.exe">/.test(names), `attachments are ${names}`),
      ...unless(page.url() === `${here}/preview`, `the window is at ${page.url()}`),
      ...trap.caught,
    ];
  });
  await run.check('its content, clicked at: links and buttons lead nowhere', async () => {
    const faults: string[] = [];
    const asked = notes.requests.length;
    for (const target of ['#script-link', '#away-link', '#self-link', 'text=Log in again', 'text=hover']) {
      for (const how of [
        {},
        { button: 'middle' as const },
        { modifiers: ['Control' as const] },
        { modifiers: ['Shift' as const] },
      ]) {
        await page.goto(`${here}/preview`);
        await page.locator('#html').scrollIntoViewIfNeeded();
        await page.frameLocator('#html').locator('#harmless').waitFor();
        await page
          .frameLocator('#html')
          .locator(target)
          .first()
          .click({ force: true, noWaitAfter: true, timeout: 2_000, ...how })
          .catch(() => undefined);
        await page.keyboard.press('Enter');
        await page.evaluate(() => new Promise((done) => setTimeout(done, 100)));
        for (const other of context.pages()) if (other !== page) await other.close();
        if (page.url() !== `${here}/preview`) faults.push(`${target} ${JSON.stringify(how)} leads to ${page.url()}`);
      }
    }
    const left = foreign(notes.requests.slice(asked), url).filter((address) => !notes.stopped.includes(address));
    return [
      ...faults,
      ...left.map((address) => `asked for ${address}`),
      ...notes.dialogs.map((text) => `a dialog: ${text}`),
      ...notes.popups.map((address) => `a window: ${address}`),
      ...trap.caught,
    ];
  });
  await run.check('its HTML by itself is not shown as a page', async () => {
    const answer = await page.goto(`${here}/html`);
    return unless(answer?.status() === 403, `answered ${answer?.status()}`);
  });
  await context.close();
}

/** A page of somebody else that acts while an operator is logged in, in the same browser. */
function attackPage(console_: string, id: string): string {
  const act = `<input name="act" value="drop"><input name="id" value="${id}"><input name="back" value="/"><input name="formToken" value="x">`;
  const form = (path: string, fields: string, enctype = ''): string =>
    `<form method="post" action="${console_}${path}" target="sink" ${enctype}>${fields}</form>`;
  return `<!doctype html><title>prizes</title><iframe name="sink"></iframe>
<iframe id="overlay" src="${console_}/messages/${id}"></iframe><iframe id="overlay-html" src="${console_}/messages/${id}/html"></iframe>
${form('/acts', act)}${form('/acts', act, 'enctype="text/plain"')}${form('/acts', act, 'enctype="multipart/form-data"')}${form('/logout', '')}
${form('/pickups', '<input name="pickup" value="fax">')}${form('/login', '<input name="user" value="mallory"><input name="secret" value="x">')}
${form('/api/acts', `<input name='{"act":"drop","ids":["${id}"],"x":"' value='"}'>`, 'enctype="text/plain"')}
<img src="${console_}/messages/${id}/message.eml"><img src="${console_}/logout"><script src="${console_}/api/messages"></script>
<link rel="stylesheet" href="${console_}/messages/${id}/preview">
<script>
window.done = (async () => {
  const out = [];
  for (const form of document.forms) { form.submit(); await new Promise((go) => setTimeout(go, 150)); }
  const body = new URLSearchParams({ act: 'drop', id: '${id}', formToken: 'x' });
  for (const options of [
    { method: 'POST', mode: 'no-cors', body },
    { method: 'POST', mode: 'cors', body },
    { method: 'POST', mode: 'cors', headers: { 'x-form-token': 'x', 'content-type': 'application/json' }, body: '{"act":"drop","ids":["${id}"]}' },
    { method: 'GET', mode: 'cors' },
  ]) for (const path of ['/acts', '/api/acts', '/api/messages', '/messages', '/messages/${id}/message.eml']) {
    try {
      const answer = await fetch('${console_}' + path, { credentials: 'include', ...options });
      if (answer.type !== 'opaque') out.push(path + ' can be read: ' + answer.status);
    } catch {}
  }
  const opened = window.open('${console_}/messages');
  await new Promise((go) => setTimeout(go, 500));
  try { if (opened && opened.document.body.textContent) out.push('a window of the console can be read'); } catch {}
  return out;
})();
</script>`;
}

async function otherPages(run: Run): Promise<void> {
  const { url, hostile, gateway } = run.site;
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end(attackPage(url, hostile));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const { page, context } = await run.open();
  for (const host of ['127.0.0.1', 'localhost']) {
    await run.check(
      `a page of http://${host}:${port} orders, reads and frames nothing (CSRF, clickjacking)`,
      async () => {
        const before = gateway.lines.length;
        const attacker = await context.newPage();
        const framed: string[] = [];
        await attacker.goto(`http://${host}:${port}/`);
        const read = await attacker.evaluate(() => (window as unknown as { done: Promise<string[]> }).done);
        for (const frame of attacker.frames().slice(1)) {
          const text = (await frame.content().catch(() => '')).replace(/<[^>]*>/g, ' ');
          if (text.includes('contoso.com')) framed.push(`a frame shows mail: ${frame.url()}`);
        }
        await attacker.close();
        await page.goto(`${url}/messages/${hostile}`);
        const done = gateway.lines
          .slice(before)
          .filter(({ event }) => /^item\.|^auth\.succeeded$|^auth\.failed$/.test(event))
          .map((line) => `the log has ${line.event} by ${String(line['by'] ?? line['user'])}`);
        return [
          ...read,
          ...framed,
          ...done,
          ...unless(page.url() === `${url}/messages/${hostile}`, 'the operator was logged out'),
          ...unless((await page.textContent('.lead .badge')) === 'parked', 'the message was changed'),
        ];
      },
    );
  }
  await context.close();
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
}

async function otherNames(run: Run): Promise<void> {
  const { url, hostile, trap } = run.site;
  const { port } = new URL(url);
  const { page, context } = await run.open();
  await run.check('by a name that is not its own the console shows nothing (DNS rebinding)', async () => {
    const answer = await page.goto(`http://rebound.example:${port}/messages`);
    const text = (await page.textContent('body')) ?? '';
    return [
      ...unless(answer?.status() === 421, `answered ${answer?.status()}`),
      ...unless(!text.includes('contoso'), text),
    ];
  });
  await context.close();
  await run.check('after the login nobody is led elsewhere, and no field is planted', async () => {
    const faults: string[] = [];
    for (const next of [
      '//evil.example/',
      '/\\evil.example',
      'https://evil.example/',
      'javascript:alert(1)',
      '/%0d%0aSet-Cookie: x=1',
      '/\r\nSet-Cookie: x=1',
      '/\t/evil.example',
    ]) {
      const window = await run.open({}, false);
      await window.page.goto(`${url}/login?next=${encodeURIComponent(next)}`);
      await window.page.fill('#login-name', OPERATOR.name);
      await window.page.fill('#login-secret', OPERATOR.password);
      await window.page.click('#login');
      await window.page.waitForURL((at) => at.pathname !== '/login');
      if (!window.page.url().startsWith(`${url}/`)) faults.push(`${next} leads to ${window.page.url()}`);
      const cookies = await window.context.cookies();
      if (cookies.length !== 1) faults.push(`${next} sets ${cookies.map(({ name }) => name).join(' ')}`);
      faults.push(...window.notes.dialogs);
      await window.context.close();
    }
    return [...faults, ...trap.caught];
  });
  await run.check('guessed cookies and tokens: a login is asked for', async () => {
    const faults: string[] = [];
    for (let guess = 0; guess < 50; guess++) {
      const cookie = `smtp2exchange=${randomBytes(32).toString('base64url')}`;
      const answer = await fetch(`${url}/messages/${hostile}`, { headers: { cookie }, redirect: 'manual' });
      if (answer.status !== 303) faults.push(`a guess was answered ${answer.status}`);
    }
    return faults;
  });
}

/** The last of all: afterwards this machine may not log in for a while. */
export async function guesses(run: Run): Promise<void> {
  const { url } = run.site;
  await run.check(
    'guesses are answered later and later, then this address is banned, the right word included',
    async () => {
      const ask = async (token: string): Promise<readonly [status: number, after: number]> => {
        const begun = performance.now();
        const answer = await fetch(`${url}/api/state`, { headers: { authorization: `Bearer ${token}` } });
        return [answer.status, performance.now() - begun];
      };
      const answers = await Promise.all(Array.from({ length: 4 }, () => ask('a-guess')));
      const more = await Promise.all(Array.from({ length: 4 }, () => ask('a-guess')));
      const right = await ask(TOKEN);
      const statuses = [...answers, ...more].map(([status]) => status);
      const { page, context } = await run.open({}, false);
      await page.goto(url);
      await page.fill('#login-name', OPERATOR.name);
      await page.fill('#login-secret', OPERATOR.password);
      await page.click('#login');
      const words = (await page.textContent('#login-problem')) ?? '';
      await run.picture(page, 'login-banned');
      await context.close();
      return [
        ...unless(!statuses.includes(200), `answered ${statuses.join(' ')}`),
        ...unless(statuses.at(-1) === 429 && right[0] === 429, `not banned: ${statuses.join(' ')}, then ${right[0]}`),
        ...unless(
          Math.max(...answers.map(([, after]) => after)) > 3_900,
          `answered after ${answers.map(([, after]) => Math.round(after)).join(' ')} ms`,
        ),
        ...unless(words.includes('Too many failed logins'), words),
      ];
    },
  );
}
