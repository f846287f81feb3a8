import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { BertLayersError } from './errors.ts'

export const DEFAULT_MODEL = '@bert-layers/all-minilm-l6-v2'

/** Excludes './x', absolute paths and hub names such as 'org/name'. */
const PACKAGE_NAME = /^(@[\w.~-]+\/)?[\w~-][\w.~-]*$/

/** Folders of installed packages that a model's name could mean: NAME itself, then @bert-layers/NAME. */
export function packageFolders(name: string): string[] {
  if (!PACKAGE_NAME.test(name)) return []
  const packages = name.startsWith('@') ? [name] : [name, `@bert-layers/${name.toLowerCase()}`]
  return [...new Set(packages.flatMap(resolveFolders))]
}

/** The folder of the model that is used when none is named. */
export function defaultModelFolder(): string {
  const [folder] = resolveFolders(DEFAULT_MODEL)
  if (folder !== undefined) return folder
  throw new BertLayersError(
    'ERR_MODEL_NOT_FOUND',
    `the default model's package ${DEFAULT_MODEL} is not installed: run 'npm install ${DEFAULT_MODEL}', or name a model`,
  )
}

/** Where a package is, seen from this package and from the working directory. */
function resolveFolders(packageName: string): string[] {
  const roots = [() => import.meta.url, () => join(process.cwd(), 'package.json')]
  return roots.flatMap(root => {
    try {
      return [dirname(createRequire(root()).resolve(`${packageName}/package.json`))]
    } catch {
      return [] // not installed there; or there is no working directory any more
    }
  })
}
