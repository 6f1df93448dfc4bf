// Type checks the TypeScript blocks of the documentation together, and runs those of the packages.
//
// A block is ```ts in a README, a guide, or the comment at the head of an entry file (packages/*/src/*.ts). After `ts`
// may stand `no-run` (it needs a cluster, a registry or a long time) and `file=src/name.ts`, the name under which other
// blocks of the same document import it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

interface Example {
  /** Of the document, below the root of the repository. */
  readonly source: string
  /** Where its first line of code stands. */
  readonly line: number
  readonly code: string
  /** Below the scratch folder. */
  readonly file: string
  readonly isRun: boolean
}

describe('examples in the documentation', () => {
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'fairlead-examples-')))
  after(() => rmSync(scratch, { recursive: true }))

  const documents = [
    'README.md',
    'packages/*/README.md',
    'packages/*/src/*.ts',
    'docs/guides/*.md',
    'docs/service/*.md',
  ]
  const examples = documents
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .toSorted()
    .flatMap((source) => readExamples(source))
  // Packages are found as anywhere in the repository, and Node strips types, which it does not do below node_modules.
  symlinkSync(join(root, 'node_modules'), join(scratch, 'node_modules'))
  writeFileSync(join(scratch, 'package.json'), '{ "type": "module" }')
  for (const example of examples) writeExample(scratch, example)

  it('are there', () => assert.ok(examples.length > 20, `found ${examples.length}`))

  it('have the right types', () => {
    const compilerOptions = { lib: ['esnext'] }
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['blocks'], exclude: [] }
    writeFileSync(join(scratch, 'tsconfig.json'), JSON.stringify(config))
    const tsc = join(root, 'node_modules', '.bin', 'tsc')
    const { stdout, status } = spawnSync(tsc, ['-p', scratch, '--pretty', 'false'], { cwd: scratch, encoding: 'utf8' })
    // What is wrong inside the packages is told by the type check of the repository.
    const faults = stdout.split('\n').filter((text) => text.startsWith('blocks/'))
    assert.deepEqual(
      faults.map((text) => toPlace(text, examples)),
      [],
    )
    assert.ok(status !== null && (status === 0 || stdout !== ''), 'tsc did not run')
  })

  it('of the packages run', () => {
    const runnable = examples.filter(({ isRun }) => isRun)
    const report = join(scratch, 'report.json')
    writeFileSync(join(scratch, 'run.mjs'), renderRunner(runnable, report))
    // No example may find the cluster of whoever runs the tests.
    const env = { ...process.env, HOME: scratch, KUBECONFIG: join(scratch, 'none'), LOG_LEVEL: 'error' }
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--conditions=@fairlead/source', '--disable-warning=ExperimentalWarning', join(scratch, 'run.mjs')],
      { cwd: root, encoding: 'utf8', timeout: 60_000, env },
    )
    assert.equal(status, 0, stderr)
    assert.deepEqual(JSON.parse(readFileSync(report, 'utf8')), [])
  })
})

/** The TypeScript blocks of a Markdown file, or of the comment at the head of a source file. */
function readExamples(source: string): Example[] {
  const text = readFileSync(join(root, source), 'utf8')
  const isMarkdown = source.endsWith('.md')
  const lines = isMarkdown ? text.split('\n') : headComment(text)
  const examples: Example[] = []
  let open: { line: number; words: string[]; code: string[] } | undefined
  for (const [index, content] of lines.entries()) {
    const fence = /^```(.*)$/.exec(content)
    if (open === undefined) {
      const words = fence?.[1]?.split(/\s+/) ?? []
      if (words[0] === 'ts') open = { line: index + 2, words, code: [] }
    } else if (fence) {
      examples.push(toExample(source, open, isMarkdown))
      open = undefined
    } else open.code.push(content)
  }
  assert.equal(open, undefined, `${source}: a block is not closed`)
  return examples
}

function toExample(
  source: string,
  block: { line: number; words: string[]; code: string[] },
  isMarkdown: boolean,
): Example {
  const { line, words, code } = block
  const name = words.find((word) => word.startsWith('file='))?.slice('file='.length) ?? `line-${line}.ts`
  const isRun = /^(packages|docs\/service)\//.test(source) && !words.includes('no-run')
  const folder = source.replace(isMarkdown ? /\.md$/ : /\.ts$/, '')
  return { source, line, code: code.join('\n'), file: join('blocks', folder, name), isRun }
}

/** The lines of the doc comment a file begins with, without their stars: as many as it has, so that numbers hold. */
function headComment(text: string): string[] {
  const comment = /^\/\*\*\n([\s\S]*?)\*\//.exec(text)?.[1] ?? ''
  return ['', ...comment.split('\n').map((content) => content.replace(/^ \* ?/, ''))]
}

/** Written so that a line has the number it has in the document; what examples keep in /tmp they keep in `scratch`. */
function writeExample(scratch: string, { file, line, code }: Example): void {
  const path = join(scratch, file)
  mkdirSync(dirname(path), { recursive: true })
  const isModule = /^(import|export)\b/m.test(code)
  const text = code.replaceAll("'/tmp/", `'${scratch}/tmp/`)
  writeFileSync(path, `${'\n'.repeat(line - 1)}${text}\n${isModule ? '' : 'export {}\n'}`)
}

/** `blocks/x/line-5.ts(7,3): error TS1: text` as `x.md:7: error TS1: text`. */
function toPlace(text: string, examples: readonly Example[]): string {
  const [, file, line, message] = /^(.*?)\((\d+),\d+\): (.*)$/.exec(text) ?? []
  const source = examples.find((example) => example.file === file)?.source
  return source === undefined ? text : `${source}:${line}: ${message}`
}

/** A program that imports one example after the other and writes down which threw or did not end. */
function renderRunner(examples: readonly Example[], report: string): string {
  const list = examples.map(({ file, source, line }) => ({ file: `./${file}`, place: `${source}:${line}` }))
  return `
import { writeFileSync } from 'node:fs'
const failures = []
console.log = () => {}
process.stdout.write = () => true
for (const { file, place } of ${JSON.stringify(list)}) {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('it did not end within 10 s')), 10_000) })
  await Promise.race([import(file), late]).catch((error) => failures.push(place + ': ' + (error?.stack ?? error)))
  clearTimeout(timer)
}
writeFileSync(${JSON.stringify(report)}, JSON.stringify(failures))
process.exit(0)
`
}
