// Runs Kubernetes' own tests of kubectl against our API server and controllers; README.md beside this tells how. By hand: it needs Go.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { versionInfo } from '../../../packages/cluster/src/lib/apiserver/version.ts'
import { perform } from '../kubernetes/perform.ts'
import { compile, isThere, loadSource } from '../kubernetes/programs.ts'

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: '/tmp/fairlead-kubernetes-cmd' },
    part: { type: 'string', multiple: true },
    timeout: { type: 'string', default: '600' },
  },
})
const { work } = values
const source = join(work, 'src')
const logs = join(work, 'logs')

await mkdir(logs, { recursive: true })
await buildKubectl()
const parts = values.part ?? (await listParts())
const failed: string[] = []
for (const part of parts) {
  const startedAt = performance.now()
  const passed = await runPart(part)
  if (!passed) failed.push(part)
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  process.stdout.write(`${passed ? 'PASS' : 'FAIL'} ${part} (${seconds} s)\n`)
}
process.stdout.write(`${parts.length} parts, ${parts.length - failed.length} passed; what they said: ${logs}\n`)
process.exitCode = failed.length === 0 ? 0 : 1

/** Of the version that the server tells: the tests insist that both are the same. */
async function buildKubectl(): Promise<void> {
  if (!(await isThere(source))) {
    await loadSource(source)
    // A module has no programs.
    await perform('chmod', ['-R', 'a+X,u+x', join(source, 'test/fixtures/pkg/kubectl/plugins')])
  }
  const { gitVersion = '', major = '', minor = '' } = versionInfo
  const told = Object.entries({ gitVersion, gitMajor: major, gitMinor: minor, gitCommit: '', gitTreeState: 'clean' })
  const variables = told.map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`)
  for (const name of ['kubectl', 'kubectl-convert']) {
    const output = join(source, '_output/bin', name)
    if (await isThere(output)) continue
    await compile(source, ['build', `-ldflags=-s -w ${variables.join(' ')}`, '-o', output, `./cmd/${name}`])
  }
}

/** In upstream's order; `between` is what upstream checks between its parts. */
async function listParts(): Promise<string[]> {
  const script = await readFile(join(source, 'test/cmd/legacy-script.sh'), 'utf8')
  const named = [...script.matchAll(/^ +record_command (run_\w+)$/gm)].map(([, name]) => name ?? '')
  return ['between', ...new Set(named)]
}

/** Against a server of its own. */
async function runPart(part: string): Promise<boolean> {
  const dir = await mkdtemp(join(tmpdir(), 'kubernetes-cmd-'))
  const log = createWriteStream(join(logs, `${part}.log`))
  const clientCa = join(source, 'hack/testdata/ca/ca.crt')
  const server = spawn(process.execPath, [...process.execArgv, join(import.meta.dirname, 'server.ts'), dir, clientCa])
  try {
    server.stderr.pipe(createWriteStream(join(logs, `${part}.server.log`)))
    const { port } = await firstLine(server)
    // The tests look for the server's certificate where kube-apiserver would have put it.
    await cp(join(dir, 'pki/apiserver.crt'), join(dir, 'apiserver.crt'))
    const told = { SECURE_API_PORT: String(port), TMPDIR: dir, KUBE_JUNIT_REPORT_DIR: join(dir, 'junit') }
    const env = { ...process.env, ...told }
    const limit = ['-k', '10', values.timeout, 'bash', join(import.meta.dirname, 'part.sh'), source, part]
    const script = spawn('timeout', limit, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    script.stdout.pipe(log, { end: false })
    script.stderr.pipe(log, { end: false })
    const [code] = (await once(script, 'close')) as [number | null]
    return code === 0
  } finally {
    server.stdin.end()
    if (server.exitCode === null) await once(server, 'close')
    log.end()
    await finished(log)
    await rm(dir, { recursive: true, force: true })
  }
}

async function firstLine(server: ChildProcess): Promise<{ port: number }> {
  if (server.stdout === null) throw new Error('the server has no standard output')
  for await (const line of createInterface({ input: server.stdout })) return JSON.parse(line) as { port: number }
  throw new Error('Cannot start the API server: it ended before it answered')
}
