export default { test: { include: ['runner-vitest.mjs'], testTimeout: 60_000 } }
