/** The run of the browser: its checks, one line each, and windows that note everything that happens in them. */
import { join } from 'node:path';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import type { BrowserSite } from './browser-site.ts';
import { OPERATOR } from './browser-site.ts';

/** What a window did, whether it should or not. */
export interface Notes {
  /** Addresses that were asked for, frames included. */
  readonly requests: string[];
  /** Of them, those that the page's policy stopped: nothing left the browser. */
  readonly stopped: string[];
  /** Errors and warnings of the browser's console: violations of a policy, scripts that fail. */
  readonly errors: string[];
  readonly dialogs: string[];
  /** Windows that were opened by a page. */
  readonly popups: string[];
}

export interface Window {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly notes: Notes;
}

export class Run {
  readonly site: BrowserSite;
  readonly #browser: Browser;
  readonly #pictures: string;
  readonly #faults: string[] = [];
  #done = 0;

  constructor(browser: Browser, site: BrowserSite, pictures: string) {
    this.#browser = browser;
    this.site = site;
    this.#pictures = pictures;
  }

  /** @param look resolves with what is wrong, or throws */
  async check(name: string, look: () => Promise<readonly string[] | void>): Promise<void> {
    let faults: readonly string[];
    try {
      faults = (await look()) ?? [];
    } catch (error) {
      faults = [error instanceof Error ? error.message : String(error)];
    }
    this.#done++;
    process.stdout.write(`${faults.length === 0 ? 'ok    ' : 'WRONG '} ${name}\n`);
    for (const fault of faults) process.stdout.write(`       ${fault.replaceAll('\n', '\n       ')}\n`);
    if (faults.length > 0) this.#faults.push(name);
  }

  /** @returns the exit code */
  sum(): number {
    const { length } = this.#faults;
    process.stdout.write(`${this.#done} checks, ${length} wrong\n`);
    return length === 0 ? 0 : 1;
  }

  async open(options: BrowserContextOptions = {}, isLoggedIn = true): Promise<Window> {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(10_000);
    const notes: Notes = { requests: [], stopped: [], errors: [], dialogs: [], popups: [] };
    context.on('request', (request) => notes.requests.push(request.url()));
    context.on('requestfailed', (request) => {
      if (request.failure()?.errorText === 'csp') notes.stopped.push(request.url());
    });
    context.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning')
        notes.errors.push(`${message.type()} at ${message.location().url}: ${message.text()}`);
    });
    context.on('weberror', (error) => notes.errors.push(error.error().message));
    context.on('dialog', (dialog) => {
      notes.dialogs.push(`${dialog.type()}: ${dialog.message()}`);
      void dialog.dismiss();
    });
    const page = await context.newPage();
    context.on('page', (popup) => notes.popups.push(popup.url()));
    if (isLoggedIn) await this.logIn(page);
    return { context, page, notes };
  }

  async logIn(page: Page): Promise<void> {
    await page.goto(`${this.site.url}/login`);
    await page.fill('#login-name', OPERATOR.name);
    await page.fill('#login-secret', OPERATOR.password);
    await page.click('#login');
    await page.waitForURL(`${this.site.url}/`);
  }

  async picture(page: Page, name: string, isWhole = true): Promise<void> {
    await page.screenshot({ path: join(this.#pictures, `${name}.png`), fullPage: isWhole, animations: 'disabled' });
  }

  /** Waits for the line in which the log says what the operator did. */
  async audit(event: string, id: string): Promise<void> {
    await this.site.gateway.line(
      (line) => line.event === event && line['id'] === id && line['by'] === OPERATOR.name,
      10,
    );
  }
}

/** What is wrong with a window in which nothing hostile was. */
export function faultsOf({ requests, stopped, errors, dialogs, popups }: Notes, origin: string): readonly string[] {
  return [
    ...foreign(
      requests.filter((url) => !stopped.includes(url)),
      origin,
    ).map((url) => `asked for ${url}`),
    ...errors.map((text) => `the browser says: ${text}`),
    ...dialogs.map((text) => `a dialog: ${text}`),
    ...popups.map((url) => `a window: ${url}`),
  ];
}

/** Whatever was asked of somebody else than the console; data that an address has in itself asks nobody. */
export function foreign(requests: readonly string[], origin: string): readonly string[] {
  return requests.filter((url) => !url.startsWith(`${origin}/`) && !url.startsWith('data:'));
}

export function unless(isRight: boolean, fault: string): readonly string[] {
  return isRight ? [] : [fault];
}
