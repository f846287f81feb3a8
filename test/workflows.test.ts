import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from './support/paths.ts'

const FOLDER = join(ROOT, '.github/workflows')
const workflows = readdirSync(FOLDER).map(name => [name, readFileSync(join(FOLDER, name), 'utf8')] as const)

/** On the PATH, or where `go install` puts it. */
const actionlint = ['actionlint', join(homedir(), 'go/bin/actionlint')].find(
  command => spawnSync(command, ['-version']).status === 0,
)
if (!actionlint) {
  console.log('not run: actionlint is not here; go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12')
}

describe('the workflows', () => {
  test.runIf(actionlint)('pass actionlint', () => {
    const { status, stdout, stderr } = spawnSync(actionlint!, [], { cwd: ROOT, encoding: 'utf8' })
    expect(stdout + stderr).toBe('')
    expect(status).toBe(0)
  })

  test.each(workflows)('%s names every action by a commit, with its version beside it', (_, text) => {
    const used = text.match(/uses: .*/g) ?? []
    for (const line of used) {
      if (line.startsWith('uses: ./')) continue
      expect(line).toMatch(/^uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
    }
  })

  test('give one action one commit', () => {
    const commits = new Map<string, Set<string>>()
    for (const [, text] of workflows) {
      for (const [, action = '', commit = ''] of text.matchAll(/uses: ([\w/-]+)@(.*)/g)) {
        commits.set(action, (commits.get(action) ?? new Set()).add(commit))
      }
    }
    expect(commits.size).toBeGreaterThan(4)
    for (const [action, found] of commits) expect([...found], action).toHaveLength(1)
  })

  test('may write nothing, but for the identity that publishes', () => {
    for (const [name, text] of workflows) {
      expect(text, name).toMatch(/^permissions:\n {2}contents: read$/m)
      const writes = text.match(/^.*: write$/gm) ?? []
      expect(writes, name).toEqual(name === 'release.yml' ? ['      id-token: write'] : [])
    }
  })

  test('publish through the gate only', () => {
    // That its dry run does not call npm publish is in test/tarballs.test.ts.
    for (const [name, text] of workflows) expect(text.replaceAll(/#.*/g, ''), name).not.toMatch(/npm publish/)
  })
})
