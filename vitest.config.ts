import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Left alone it would be one fewer than processors: one of two. Counts do not depend on what runs beside; times are not asserted.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    globalSetup: './test/setup.ts',
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: ['default', './test/reporter.ts'],
  },
});
