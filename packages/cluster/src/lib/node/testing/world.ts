import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Container, Pod, PodSpec } from '@fairlead/kube/types/core-v1'
import { digestOf, hostPlatform, mediaTypes } from '@fairlead/oci'
import { createTar } from '@fairlead/oci/archive'
import type { TarEntry } from '@fairlead/oci/archive'
import { openLayout } from '@fairlead/oci/layout'

import { createApiServer } from '../../apiserver/server.ts'
import type { ApiServer } from '../../apiserver/server.ts'
import { openPodNetwork } from '../../network/pod-network.ts'
import type { PodNetwork } from '../../network/pod-network.ts'
import { openStore } from '../../storage/store.ts'
import { runNode } from '../node.ts'
import type { NodeAgent } from '../node.ts'
import type { NodeOptions } from '../node-options.ts'

/** Why containers cannot be tested here, or false. Throws instead when the environment says CI. */
export function skipReason(): string | false {
  const reason = findObstacle()
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot test the node agent: ${reason}`)
  return reason
}

function findObstacle(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'containers need root on Linux'
  for (const tool of ['runc', 'conmon', 'ip', 'nft', 'busybox']) if (!findTool(tool)) return `${tool} is not installed`
  return false
}

function findTool(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/bin']
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** An API server with one node's surroundings, in memory and temporary folders. */
export interface World extends AsyncDisposable {
  readonly dir: string
  readonly client: KubeClient
  readonly server: ApiServer
  readonly network: PodNetwork
  /** Errors the agent retried. */
  readonly errors: unknown[]
  /** Starts an agent; the one before it must have stopped. */
  startAgent(options?: Partial<NodeOptions>): Promise<NodeAgent>
  /** Creates a pod on the node. */
  createPod(name: string, container: Partial<Container>, spec?: Partial<PodSpec>): Promise<Pod>
  /** The pod, as soon as `test` holds of it. */
  pod(name: string, test: (pod: Pod) => unknown, what: string): Promise<Pod>
  gone(name: string): Promise<void>
  logs(agent: NodeAgent, name: string, query?: string, container?: string): Promise<string>
  events(name: string): Promise<string[]>
}

export const NODE_NAME = 'here'
export const IMAGE = 'localhost/test/box:1'

/** Options of {@link openWorld}. */
export interface WorldOptions {
  /** Its folder is a disk of its own of this size. Default: a folder. */
  readonly diskBytes?: number | undefined
}

/** Opens a world. `processes` uses the network of plain processes. */
export async function openWorld(
  mode: 'namespaces' | 'processes' = 'namespaces',
  { diskBytes }: WorldOptions = {},
): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-node-'))
  if (diskBytes !== undefined) execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'tmpfs', dir])
  await writeBusyboxImage(join(dir, 'images'))
  const store = await openStore({ dir: '', durability: 'memory' })
  let agent: NodeAgent | undefined
  const server = createApiServer({
    store,
    kubelet: async () => {
      if (!agent) throw new Error('no agent runs')
      return agent.kubelet
    },
  })
  await server.ready()
  const client = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
  const network = await openPodNetwork({ dir, mode, ready: 1 })
  const errors: unknown[] = []
  const pods = client.resource('v1/Pod')

  return {
    dir,
    client,
    server,
    network,
    errors,
    async startAgent(options = {}) {
      // With the rights of a node, so that one that lacks is found out here.
      const identity = { user: `system:node:${NODE_NAME}`, groups: ['system:nodes'] }
      agent = await runNode({
        client: createKubeClient({ transport: server.transport(identity) }),
        nodeName: NODE_NAME,
        dir: join(dir, 'node'),
        images: join(dir, 'images'),
        runtime: mode === 'processes' ? 'process' : 'runc',
        network,
        clusterDns: '10.96.0.10',
        onError: (error) => errors.push(error),
        ...options,
      })
      return agent
    },
    createPod: (name, container, spec = {}) =>
      pods.create({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'default', labels: { app: name } },
        spec: {
          nodeName: NODE_NAME,
          terminationGracePeriodSeconds: 1,
          containers: [{ name: 'main', image: IMAGE, ...container }],
          ...spec,
        },
      }),
    pod: (name, test, what) =>
      until(
        async () => {
          const pod = await pods.get(name, { namespace: 'default' })
          return test(pod) ? pod : undefined
        },
        `pod ${name}: ${what}`,
        async () => JSON.stringify((await pods.get(name, { namespace: 'default' })).status),
      ),
    gone: async (name) => {
      await until(async () => {
        const { items } = await pods.list({ namespace: 'default' })
        return items.every(({ metadata }) => metadata?.name !== name) || undefined
      }, `pod ${name} is gone`)
    },
    async logs(of, name, query = '', container = 'main') {
      const answer = await of.kubelet.fetch({
        method: 'GET',
        path: `/containerLogs/default/${name}/${container}?${query}`,
      })
      const chunks: Uint8Array[] = []
      for await (const chunk of answer.body) chunks.push(chunk)
      return Buffer.concat(chunks).toString()
    },
    async events(name) {
      const { items } = await client.resource('v1/Event').list({ namespace: 'default' })
      return items.filter(({ involvedObject }) => involvedObject.name === name).map(({ reason }) => reason ?? '')
    },
    async [Symbol.asyncDispose]() {
      await agent?.stop({ stopPods: true, graceMs: 100 })
      await network.close({ remove: true })
      await server.close()
      await store.close()
      if (diskBytes !== undefined) execFileSync('umount', ['-l', dir])
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Waits for a condition instead of for a time. */
export async function until<T>(
  look: () => Promise<T | undefined>,
  what: string,
  explain?: () => Promise<string>,
): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}: ${(await explain?.()) ?? ''}`)
    await sleep(5)
  }
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True'
}

/** Writes a layout with one image, `IMAGE`: busybox, a user database and a page for its web server. */
export async function writeBusyboxImage(dir: string): Promise<void> {
  const layout = await openLayout(dir)
  const applets =
    'sh stty tty tar sleep cat echo id ls httpd touch rm mkdir true false head hostname env nslookup wget test tail'
  const layer = await gather(
    createTar([
      { path: 'bin', type: 'directory' },
      { path: 'bin/busybox', type: 'file', mode: 0o755, content: await readFile(findTool('busybox') ?? '') },
      ...applets.split(' ').map((name): TarEntry => ({ path: `bin/${name}`, type: 'symlink', linkPath: 'busybox' })),
      { path: 'etc/passwd', type: 'file', content: Buffer.from('root:x:0:0::/:/bin/sh\napp:x:7:7::/:/bin/sh\n') },
      { path: 'www/index.html', type: 'file', content: Buffer.from('hello') },
      { path: 'tmp', type: 'directory', mode: 0o1777 },
    ]),
  )
  const stored = await layout.writeBlob(layer)
  const config = await layout.writeJson(mediaTypes.config, {
    ...hostPlatform(),
    config: {
      Env: ['PATH=/bin'],
      WorkingDir: '/www',
      Entrypoint: ['sh', '-c'],
      Cmd: ['exec httpd -f -p 8080 -h /www'],
    },
    rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
  })
  const manifest = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: [{ mediaType: mediaTypes.layer, ...stored }],
  })
  await layout.tag(IMAGE, manifest)
  assert.ok(await layout.resolve(IMAGE))
}

async function gather(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
