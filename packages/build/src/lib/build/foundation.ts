import { hostPlatform, parsePlatform, renderPlatform } from '@fairlead/oci'

import { resolveBase } from '../base/base.ts'
import type { Base } from '../base/base.ts'
import { nodeLayer } from '../base/node.ts'
import type { NodeLayer } from '../base/node.ts'
import { baseUnavailable, platformUnsupported } from '../errors.ts'
import type { NativeTarget } from '../trace/native-files.ts'
import type { BuildContext } from './context.ts'

export type Architecture = 'amd64' | 'arm64'

/** What lies below the program, for one processor. */
export interface Foundation {
  architecture: Architecture
  base: Base
  nodeVersion: string
  /** Node.js of the npm registry; absent when the base has its own. */
  layer: NodeLayer | undefined
}

/** What to lay. */
export interface FoundationOptions {
  architecture: Architecture
  /** Version of Node.js. */
  version: string
  /** Settles when the dependencies are installed, or could not be: what needs much memory waits for it. */
  installed: Promise<unknown>
}

/** Base and Node.js for one processor. A base with another C library than glibc must bring a Node.js of its own. */
export async function layFoundation(context: BuildContext, options: FoundationOptions): Promise<Foundation> {
  const { architecture, version } = options
  const nodePending = fetchNode(context, options)
  nodePending.catch(() => {})
  const base = await fetchBase(context, architecture)
  if (base.libc !== 'musl') return { architecture, base, nodeVersion: version, layer: await nodePending }
  await nodePending.catch(() => {})
  const own = base.config?.Env?.find((entry) => entry.startsWith('NODE_VERSION='))?.slice('NODE_VERSION='.length)
  if (base.node !== undefined) return { architecture, base, nodeVersion: own ?? version, layer: undefined }
  const state = 'its C library is musl, the Node.js of the npm registry needs glibc, and it has no Node.js of its own'
  const hint = 'Choose an image with Node.js, such as node:24-alpine, or the base "debian"'
  throw baseUnavailable(base.name, state, undefined, hint)
}

async function fetchBase(context: BuildContext, architecture: Architecture): Promise<Base> {
  const { options, cache, env, signal } = context
  const { base = 'auto', refreshBase, packages = [] } = options
  const step = context.step('base')
  const isRefresh = refreshBase === true
  const wanted = { cache, base, architecture, packages, isRefresh, env, signal, onStart: step.start }
  const { base: found, isCached } = await resolveBase(wanted)
  step.end(isCached, found.detail)
  return found
}

async function fetchNode(context: BuildContext, options: FoundationOptions): Promise<NodeLayer> {
  const { version, architecture, installed } = options
  const step = context.step('node')
  const { layer, isCached } = await nodeLayer({
    cache: context.cache,
    version,
    architecture,
    hasSymbols: context.options.debugSymbols === true,
    isRoomy: installed,
    env: context.env,
    signal: context.signal,
    onStart: () => step.start(`Node.js ${version} from npm`),
  })
  step.end(isCached, `Node.js ${version}`)
  return layer
}

/** The processors of `--platform`; that of this machine where there is none. Throws `FAIRLEAD_BUILD_PLATFORM`. */
export function architecturesOf(platforms: string | undefined): Architecture[] {
  const names = platforms?.split(',').map((name) => name.trim()) ?? [renderPlatform(hostPlatform())]
  return [...new Set(names.map(architectureOf))]
}

function architectureOf(platform: string): Architecture {
  const { os, architecture } = parsePlatform(platform)
  if (os === 'linux' && (architecture === 'amd64' || architecture === 'arm64')) return architecture
  throw platformUnsupported(platform)
}

export function targetOf({ architecture, base }: Foundation): NativeTarget {
  return { architecture, libc: base.libc === 'musl' ? 'musl' : 'glibc' }
}

/** Whether this machine can run the Node.js of the image. */
export function isNative({ architecture }: Foundation): boolean {
  const host = hostPlatform()
  return process.platform === 'linux' && host.architecture === architecture
}
