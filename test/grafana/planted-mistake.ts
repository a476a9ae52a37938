/** For `node --import`: after SIGUSR2 the next delivery attempts meet a mistake in the program, until SIGUSR2 again. */
import { registerHooks } from 'node:module';

const state = { isPlanted: false };
process.on('SIGUSR2', () => (state.isPlanted = !state.isPlanted));
Object.assign(globalThis, {
  plantedMistake() {
    if (state.isPlanted) throw new TypeError('a mistake planted by a test');
  },
});

const CALL = 'await transport.deliver(outgoing, signal)';

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith('/src/queue/attempt.ts')) return loaded;
    const source = String(loaded.source);
    if (!source.includes(CALL)) throw new Error(`${url} has no ${CALL} any more: where shall the mistake be planted?`);
    return { ...loaded, source: source.replace(CALL, `(globalThis.plantedMistake(), ${CALL})`) };
  },
});
