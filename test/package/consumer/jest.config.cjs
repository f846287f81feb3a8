module.exports = { testMatch: ['<rootDir>/runner-jest.cjs'], testEnvironment: 'node', testTimeout: 60_000 }
