// Runs Gateway API's own conformance suite against a cluster of its own; README.md beside this tells how. By hand: it needs Go and root.
import { access, cp, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { supportedFeatures } from '../../../packages/cluster/src/lib/gateway/supported-features.ts'
import { perform } from '../kubernetes/perform.ts'

const version = 'v1.4.0'
const tag = 'v20240412-v1.0.0-394-g40c666fd'
const command = join(import.meta.dirname, '../../../packages/cli/src/main.ts')
/** What GatewayClass tells of has no place for these; the suite takes them for the mesh. */
const meshFeatures = [
  'Mesh',
  'MeshClusterIPMatching',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
  'HTTPRoute',
  'HTTPRouteParentRefPort',
  'HTTPRouteResponseHeaderModification',
]

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: '/tmp/fairlead-gateway-conformance' },
    mesh: { type: 'boolean', default: false },
    test: { type: 'string' },
  },
})
const { work } = values
const env: NodeJS.ProcessEnv = { ...process.env, FAIRLEAD_HOME: join(work, 'home'), CGO_ENABLED: '0' }

await mkdir(join(work, 'home'), { recursive: true })
const suite = await buildSuite()
await storeImage('echo-basic', ['/echo-basic'], { '/echo-basic': join(work, 'echo-basic') })
// UDPRoute is not served, but all pods of the suite have to be ready: this one by another program.
await storeImage('coredns', ['/echo-basic'], { '/echo-basic': join(work, 'echo-basic') })
const programs = ['server', 'client'].map((name) => [`/usr/local/bin/${name}`, join(work, 'echo-advanced')] as const)
await storeImage('echo-advanced', ['/usr/local/bin/server'], Object.fromEntries(programs))
try {
  await fairlead('cluster', 'start', '--no-registry')
  env['KUBECONFIG'] = (await fairlead('cluster', 'kubeconfig', '--path')).trim()
  await annotateDefinitions()
  await runSuite(suite)
} finally {
  await fairlead('down', '--purge')
}

/** The suite and its backends from upstream's source, and the stand-in for the image of which the source is elsewhere. */
async function buildSuite(): Promise<string> {
  const source = join(work, 'source')
  if (!(await isThere(source))) {
    const { stdout } = await perform('go', ['mod', 'download', '-json', `sigs.k8s.io/gateway-api@${version}`])
    const { Dir: downloaded } = JSON.parse(stdout) as { Dir: string }
    await cp(downloaded, `${source}.part`, { recursive: true })
    await perform('chmod', ['-R', 'u+w', `${source}.part`])
    await perform('mv', [`${source}.part`, source])
  }
  const cwd = join(source, 'conformance')
  await perform('go', ['test', '-c', '-o', join(work, 'conformance.test'), '.'], { cwd })
  await perform('go', ['build', '-o', join(work, 'echo-basic'), './echo-basic'], { cwd, env })
  const standIn = join(import.meta.dirname, 'echo/main.go')
  await perform('go', ['build', '-trimpath', '-o', join(work, 'echo-advanced'), standIn], { env })
  return cwd
}

/** Puts an image into the store of the cluster under the name that the suite's pods ask for. */
async function storeImage(name: string, entrypoint: string[], files: Readonly<Record<string, string>>): Promise<void> {
  const image =
    name === 'coredns' ? 'registry.k8s.io/coredns/coredns:v1.12.2' : `gcr.io/k8s-staging-gateway-api/${name}:${tag}`
  const container = (await perform('buildah', ['from', 'scratch'])).stdout.trim()
  for (const [target, file] of Object.entries(files)) await perform('buildah', ['copy', '-q', container, file, target])
  const path = ['--env', 'PATH=/usr/local/bin', '--entrypoint', JSON.stringify(entrypoint)]
  await perform('buildah', ['config', ...path, container])
  await perform('buildah', ['commit', '-q', '--rm', container, image])
  await perform('buildah', ['push', '-q', image, `oci:${join(work, 'home/images')}:${image}`])
}

/** The suite refuses definitions that do not tell by annotation of which version they are. */
async function annotateDefinitions(): Promise<void> {
  const { stdout } = await perform('kubectl', ['get', 'crd', '-o', 'name'], { env })
  const ours = stdout.split('\n').filter((name) => name.endsWith('.gateway.networking.k8s.io'))
  const said = [['bundle-version', version].join('='), 'channel=standard']
  const annotations = said.map((one) => `gateway.networking.k8s.io/${one}`)
  await perform('kubectl', ['annotate', '--overwrite', ...ours, ...annotations], { env })
}

async function runSuite(cwd: string): Promise<void> {
  const report = join(work, values.mesh ? 'mesh.yaml' : 'gateway.yaml')
  await rm(report, { force: true })
  const profiles = values.mesh ? 'MESH-HTTP' : 'GATEWAY-HTTP,GATEWAY-GRPC'
  const features = values.mesh ? meshFeatures : supportedFeatures.map(({ name }) => name)
  const told = ['organization', 'project', 'version', 'contact'].map((name) => `-${name}=fairlead`)
  const named = [`-conformance-profiles=${profiles}`, `-report-output=${report}`, '-url=https://example.com', ...told]
  const args = [
    '-test.v',
    '-test.timeout=40m',
    '-gateway-class=fairlead',
    '-mesh-name=fairlead',
    '-allow-crds-mismatch',
    `-supported-features=${features.join(',')}`,
    ...(values.test === undefined ? named : [`-run-test=${values.test}`]),
  ]
  const log = join(work, 'suite.log')
  const quietly = ['-c', 'log=$1; shift; exec "$@" > "$log"', 'sh', log, join(work, 'conformance.test'), ...args]
  try {
    await perform('sh', quietly, { cwd, env, timeoutMs: 2_400_000 })
  } finally {
    const results = (await readFile(log, 'utf8')).matchAll(/^ {4}--- ((?:PASS|FAIL).*)$/gm)
    for (const [, line = ''] of results) process.stdout.write(`${line}\n`)
    process.stdout.write(`all that was said: ${log}; report: ${report}\n`)
  }
}

async function fairlead(...args: string[]): Promise<string> {
  const { stdout } = await perform(process.execPath, ['--conditions=@fairlead/source', command, ...args], { env })
  return stdout
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
