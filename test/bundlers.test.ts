import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { PACKAGE, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'

const PROGRAM = `
import { Encoder } from 'bert-layers'
Encoder.fromPretrained().then(async encoder => {
  const states = await encoder.encode('bundled', { layers: -1 })
  console.log(states.data.length / states.hiddenSize, states.texts[0].tokens.join(' '))
  await encoder.dispose()
})
`

// As README tells users of esbuild: the package stays in node_modules. test/hosts/next.mjs does the same for Next.js.
test.each(['esm', 'cjs'] as const)('esbuild bundles a program as %s with the package external', async format => {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(PACKAGE, join(folder, 'node_modules/bert-layers'), 'junction')
  writeFileSync(join(folder, 'program.mjs'), PROGRAM)
  const outfile = join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs')
  const entryPoints = [join(folder, 'program.mjs')]
  const { warnings } = await build({
    entryPoints,
    outfile,
    format,
    bundle: true,
    platform: 'node',
    external: ['bert-layers', '@bert-layers/*'],
    logLevel: 'silent',
  })
  expect(warnings).toEqual([])
  const { stdout, stderr, code } = await runNode([outfile])
  expect({ stdout, stderr, code }).toEqual({ stdout: '3 [CLS] bundled [SEP]\n', stderr: '', code: 0 })
})
