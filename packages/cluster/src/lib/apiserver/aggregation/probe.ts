import type { ProxyTarget } from '../proxy/target.ts'
import { ask } from './ask.ts'
import type { RemoteResource } from './remote.ts'

const limits = { deadlineMs: 5000, maxBytes: 4 << 20 } as const
/** The server itself asks, as those behind it know it. */
const asker = { user: 'system:kube-aggregator', groups: ['system:masters'] } as const

/** Asks a server what it serves of a group-version. Rejects when it does not say within 5 seconds. */
export async function probe(target: ProxyTarget, group: string, version: string): Promise<readonly RemoteResource[]> {
  const { status, text } = await ask(target, { path: `/apis/${group}/${version}`, ...asker, ...limits })
  if (status < 200 || status > 299) throw new Error(`bad status from the server: ${status}`)
  const { resources } = JSON.parse(text) as { resources?: unknown }
  return Array.isArray(resources) ? (resources as RemoteResource[]).filter(({ name }) => typeof name === 'string') : []
}
