import { join } from 'node:path'
import { createAddressPool } from './addresses.ts'
import { openAttachments } from './attachments.ts'
import type { Attachment } from './attachments.ts'
import { networkClosed } from '../errors.ts'
import { gatewayOf, openPlan } from './plan.ts'
import type { PodAttachment, PodNetwork, PodNetworkOptions } from './pod-network.ts'
import { preloadEnvironment, serviceTablePath } from './preload-environment.ts'

/**
 * Opens the pod network made of plain processes: a pod is a loopback address of its own, given to its servers by a module
 * that is loaded before the program (see preload.cjs). Needs no privileges; separates nothing.
 */
export async function openProcesses(
  dir: string,
  options: PodNetworkOptions,
  reason: string | undefined,
  platform: NodeJS.Platform = process.platform,
): Promise<PodNetwork> {
  const plan = await openPlan(dir, 'processes')
  options.onPlan?.(plan)
  const files = await openAttachments(join(dir, 'pods'))
  const addresses = createAddressPool(plan.podCidr)
  // Only Linux answers on all of 127/8; elsewhere every pod has the one loopback address and ports must differ.
  const shared = platform === 'linux' ? undefined : '127.0.0.1'
  let closed = false
  for (const { uid, ip } of files.all.values()) {
    if (ip !== shared && !addresses.claim(ip)) await files.remove(uid)
  }

  function place({ ip, namespace }: Attachment): PodAttachment {
    return { ip, env: preloadEnvironment({ ip, namespace, table: serviceTablePath(dir) }) }
  }

  return {
    plan,
    reason,
    gateway: gatewayOf(plan),
    async attach({ uid, namespace, name }) {
      const known = files.all.get(uid)
      if (known !== undefined) return place(known)
      if (closed) throw networkClosed('attach pod', `${namespace}/${name}`)
      const attachment = { uid, namespace, name, ip: shared ?? addresses.take() }
      try {
        await files.write(attachment)
      } catch (error) {
        await files.remove(uid).catch(() => {})
        addresses.release(attachment.ip)
        throw error
      }
      return place(attachment)
    },
    async detach(uid) {
      const attachment = files.all.get(uid)
      if (attachment === undefined) return
      await files.remove(uid)
      addresses.release(attachment.ip)
    },
    attached: () => [...files.all.values()],
    async close(closing) {
      closed = true
      if (closing?.remove === true) for (const uid of files.all.keys()) await files.remove(uid)
    },
  }
}
