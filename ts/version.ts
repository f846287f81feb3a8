/** This package's version: written here, so that it is known where the package was bundled too. `scripts/set-version.mjs` changes it everywhere. */
export const VERSION = '0.1.0'
