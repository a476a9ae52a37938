/**
 * The console in a real browser (Debian's Chromium), in front of the real gateway and the sandbox: what an operator does
 * with it, by mouse, by keyboard, on a phone, in the dark, without scripts; what hostile mail and hostile pages can do
 * there. Prints a line a check, keeps screenshots in test-output/console/; exit code 1 if one is wrong.
 *
 *   npm run browser [-- orders|attacks|looks|guesses]
 *
 * Needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { attacks, guesses } from './browser-attacks.ts';
import { looks } from './browser-looks.ts';
import { orders } from './browser-orders.ts';
import { Run } from './browser-run.ts';
import { openBrowserSite } from './browser-site.ts';
import { root } from '../gateway/process.ts';

const pictures = join(root, 'test-output/console');
mkdirSync(pictures, { recursive: true });
const site = await openBrowserSite();
const { port } = new URL(site.url);
const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    // A name of an attacker that leads here (DNS rebinding), names that lead into the trap; the browser's own ways end.
    `--host-resolver-rules=MAP rebound.example 127.0.0.1:${port}, MAP *.evil.example 127.0.0.1:${site.trap.port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost`,
  ],
});
const run = new Run(browser, site, pictures);
try {
  const [only] = process.argv.slice(2);
  for (const [name, part] of Object.entries({ orders, attacks, looks, guesses }))
    if (only === undefined || only === name) await part(run);
} finally {
  await browser.close();
  await site.close();
}
process.exitCode = run.sum();
