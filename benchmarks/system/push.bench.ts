// Pushing to Debian's docker-registry on this machine: an image of 45 MB for the first time, beside `skopeo copy` of the same image,
// and after a change of the application layer. Every
// round has a registry of its own, for skopeo remembers where blobs were and mounts them from there.
//   npm run bench -- push [--json] [--save]
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { digestOf, mediaTypes } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import { createRegistryClient, pushImage } from '@fairlead/oci/registry'
import type { PushedImage } from '@fairlead/oci/registry'
import { freePort, repository } from '../../tests/e2e/support/machine.ts'
import { figureOf, report } from '../report.ts'

const ROUNDS = 7
const work = mkdtempSync(join(tmpdir(), 'fairlead-push-bench-'))
try {
  const layout = await openLayout(join(work, 'home', 'images'))
  // What an image of ours has: base, Node, application. Random content, as what is compressed does not shrink further.
  const shared = [layerOf(3_000_000), layerOf(41_600_000)]
  await addImage(layerOf(400_000), 'localhost/app:0')

  const fairlead: number[] = []
  const skopeo: number[] = []
  const library: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    await using registry = await startRegistry()
    const { host } = registry
    // Who comes first changes, for the first one meets a registry that has just begun.
    const acts = [
      () => void fairlead.push(timed(() => push('localhost/app:0', `${host}/fairlead:1`))),
      () => void skopeo.push(timed(() => copyBySkopeo('localhost/app:0', `${host}/skopeo:1`))),
    ]
    for (const act of round % 2 === 0 ? acts : acts.toReversed()) act()
    const startedAt = performance.now()
    await pushImage('localhost/app:0', `${host}/library:1`, { layout, client: createRegistryClient() })
    library.push((performance.now() - startedAt) / 1000)
  }

  const changed: number[] = []
  const skopeoChanged: number[] = []
  await using registry = await startRegistry()
  const { host } = registry
  push('localhost/app:0', `${host}/fairlead:1`)
  copyBySkopeo('localhost/app:0', `${host}/skopeo:1`)
  let last: PushedImage | undefined
  for (let round = 1; round <= ROUNDS; round += 1) {
    await addImage(layerOf(400_000), `localhost/app:${round}`)
    skopeoChanged.push(timed(() => copyBySkopeo(`localhost/app:${round}`, `${host}/skopeo:1`)))
    changed.push(
      timed(() => {
        last = push(`localhost/app:${round}`, `${host}/fairlead:1`)
      }),
    )
  }
  if (!last) throw new Error('nothing was pushed')
  report('push', [
    {
      ...figureOf('first push of 45 MB, fairlead image push', 's', fairlead),
      peer: { name: 'skopeo copy', value: figureOf('', 's', skopeo).value },
    },
    figureOf('first push of 45 MB, pushImage in a process that runs', 's', library),
    {
      ...figureOf('push after a change of the application layer', 's', changed),
      peer: { name: 'skopeo copy', value: figureOf('', 's', skopeoChanged).value },
    },
    { name: 'blobs sent for it (application layer, configuration)', unit: '', value: last.blobs.moved, target: 2 },
    { name: 'bytes sent for it, of an application layer of 400 kB', unit: 'kB', value: last.movedBytes / 1000 },
    { name: 'requests for it', unit: '', value: last.requests },
  ])

  async function addImage(application: Buffer, reference: string): Promise<void> {
    const stored = []
    for (const content of [...shared, application]) stored.push(await layout.writeBlob(content))
    const rootfs = { type: 'layers', diff_ids: [...shared, application].map((content) => digestOf(content)) }
    const image = await layout.writeJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await layout.writeJson(mediaTypes.config, { os: 'linux', architecture: 'amd64', rootfs }),
      layers: stored.map((layer) => ({ mediaType: mediaTypes.layerGzip, ...layer })),
    })
    await layout.tag(reference, image)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}

async function startRegistry(): Promise<{ host: string } & AsyncDisposable> {
  const host = `127.0.0.1:${await freePort()}`
  const dir = mkdtempSync(join(work, 'registry-'))
  const config = `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${join(dir, 'storage')} } }
http: { addr: "${host}" }
`
  writeFileSync(join(dir, 'config.yml'), config)
  const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: 'ignore' })
  const client = createRegistryClient()
  while (!(await client.isReachable(host, { timeoutMs: 1000 }))) await sleep(20)
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill()
      if (child.exitCode === null) await once(child, 'close')
    },
  }
}

function layerOf(bytes: number): Buffer {
  return gzipSync(randomBytes(bytes), { level: 1 })
}

function timed(act: () => void): number {
  const startedAt = performance.now()
  act()
  return (performance.now() - startedAt) / 1000
}

function push(reference: string, target: string): PushedImage {
  const launcher = join(repository, 'packages', 'cli', 'bin', 'fairlead.mjs')
  const env = { ...process.env, FAIRLEAD_HOME: join(work, 'home'), FAIRLEAD_CACHE: join(work, 'cache'), HOME: work }
  const args = [launcher, 'image', 'push', reference, target, '--json']
  return JSON.parse(
    execFileSync(process.execPath, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  )
}

function copyBySkopeo(reference: string, target: string): void {
  const from = `oci:${join(work, 'home', 'images')}:${reference}`
  execFileSync('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', from, `docker://${target}`], {
    stdio: 'ignore',
  })
}
