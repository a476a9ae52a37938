import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Many wait for a process or a time-out, not for a processor.
    maxWorkers: 3,
  },
});
