import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/models*.test.ts', 'test/sts.test.ts'],
    // A native module in a process of its own: a crash is a failed file, not a lost run.
    pool: 'forks',
    maxWorkers: 2,
    // No test asks the real hub; those of downloads have one of their own.
    env: { HF_HUB_OFFLINE: '1' },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The built package is loaded by Node itself, as a user's program loads it.
    server: { deps: { external: [/\/dist\//] } },
  },
})
