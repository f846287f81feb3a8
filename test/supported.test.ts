import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Encoder } from 'bert-layers'
import { expect, test } from 'vitest'
import { failureOf } from './support/errors.ts'
import { ROOT } from './support/paths.ts'
import { copyTinyModel, editConfig } from './support/tiny-model.ts'

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const rows = (heading: string) => {
  const [, table = ''] = readme.split(heading)
  return table.slice(0, table.indexOf('\n\n')).split('\n').slice(2).filter(Boolean)
}
const families = rows('| family | `model_type` | layer 0 | proof |')
const files = rows('| file | what is read | proof |')

test("README's families are those that load", async () => {
  const folder = copyTinyModel(mkdtempSync(join(tmpdir(), 'bert-layers-')))
  editConfig(folder, { model_type: 'gpt2' })
  const { message } = (await failureOf(() => Encoder.fromPretrained(folder))) as Error
  rmSync(folder, { recursive: true })
  const loaded = message.split('supported: ')[1]!.split(', ')
  const listed = families.flatMap(row => [...row.split('|')[2]!.matchAll(/`([^`]+)`/g)].map(match => match[1]!))
  expect(listed.sort()).toEqual(loaded.sort())
})

test('each row names a test that exists', () => {
  expect(families.length + files.length).toBeGreaterThan(12)
  for (const row of [...families, ...files]) {
    const links = [...row.matchAll(/\]\(([^)]+)\)/g)].map(match => match[1]!)
    expect(links.length, row).toBeGreaterThan(0)
    for (const link of links) expect(existsSync(join(ROOT, link)), link).toBe(true)
  }
})
