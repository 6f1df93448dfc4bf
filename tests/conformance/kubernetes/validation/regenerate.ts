// Asks upstream's own strategies again what `validation.json` of the API server expects of each object in it, and writes
// their answers there. By hand, with Go and a work folder of the conformance suite:
//   node --conditions=@fairlead/source tests/conformance/kubernetes/validation/regenerate.ts DIR
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

import { perform } from '../perform.ts'

interface Case {
  readonly name: string
  /** The subresource that is written; without one the object is. */
  readonly part?: string
  readonly old?: object
  readonly object: object
}

interface Answer {
  readonly error?: string
  readonly causes: readonly object[]
  readonly object?: { [key: string]: unknown }
}

const file = join(import.meta.dirname, '../../../../packages/cluster/src/lib/apiserver/kinds/testdata/validation.json')

/** Builds the program inside the source of Kubernetes, which is not changed: Go lays our file over it. */
async function buildProgram(source: string, dir: string): Promise<string> {
  const program = join(dir, 'strategies')
  const overlay = join(dir, 'overlay.json')
  const replaced = { [join(source, 'cmd/strategies/main.go')]: join(import.meta.dirname, 'main.go') }
  await writeFile(overlay, JSON.stringify({ Replace: replaced }))
  const env = { ...process.env, GOFLAGS: '-mod=mod', GOWORK: 'off', CGO_ENABLED: '0' }
  const args = ['build', '-overlay', overlay, '-o', program, './cmd/strategies']
  await perform('go', args, { cwd: source, env, timeoutMs: 3_600_000 })
  return program
}

async function ask(program: string, cases: readonly Case[]): Promise<Answer[]> {
  const asked = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
  asked.stdin.end(
    cases.map(({ name, part, old, object }) => `${JSON.stringify({ name, part, old, object })}\n`).join(''),
  )
  const lines = (await text(asked.stdout)).trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line) as Answer)
}

function withAnswer({ name, part, old, object }: Case, { error, causes, object: stored }: Answer): object {
  if (error !== undefined) throw new Error(`Cannot judge "${name}": ${error}`)
  const asked = { name, ...(part === undefined ? {} : { part }), ...(old === undefined ? {} : { old }), object }
  if (causes.length > 0) return { ...asked, causes }
  const { metadata: _metadata, status, ...rest } = stored ?? {}
  return { ...asked, stored: part === undefined ? rest : { ...rest, status } }
}

async function main(work: string): Promise<void> {
  const cases = JSON.parse(await readFile(file, 'utf8')) as Case[]
  const { stdout } = await perform('realpath', [join(work, 'src')])
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-strategies-'))
  try {
    const answers = await ask(await buildProgram(stdout.trim(), dir), cases)
    const rows = cases.map((each, index) => withAnswer(each, answers[index] ?? { error: 'no answer', causes: [] }))
    const lines = rows.map((row) => `  ${JSON.stringify(row, (_key, value: unknown) => value ?? undefined)}`)
    await writeFile(file, `[\n${lines.join(',\n')}\n]\n`)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

await main(process.argv[2] ?? '/tmp/fairlead-conformance')
