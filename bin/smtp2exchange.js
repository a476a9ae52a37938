#!/usr/bin/env node
/**
 * Starts src/main.ts, which Node.js runs as it is from version 24 on. With an older one: one sentence and 78. Plain
 * JavaScript of an old kind, because it has to be read by that older one.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;

if (Number(process.versions.node.split('.')[0]) >= NEEDED) {
  // Before the first file of TypeScript: from the second start on its plain form comes from the cache, and what makes it
  // plain, some 30 MB, is not loaded.
  const { enableCompileCache } = await import('node:module');
  enableCompileCache();
  await import('../src/main.ts');
} else {
  const own = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url));
  const advice = existsSync(own)
    ? `Start it with the one that came with npm ci: ${own} ${[fileURLToPath(import.meta.url), ...process.argv.slice(2)].join(' ')}`
    : 'npm ci brings the right one and npm start uses it; or install a newer Node.js.';
  process.stderr.write(`smtp2exchange needs Node.js ${NEEDED} or later, this is ${process.versions.node}. ${advice}\n`);
  process.exit(78);
}
