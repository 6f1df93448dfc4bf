import { join } from 'node:path'
import { createAddressPool } from './addresses.ts'
import { addressAt, parseCidr } from './cidr.ts'
import { openAttachments } from './attachments.ts'
import { networkClosed, networkCommand } from '../errors.ts'
import { prepareHost, removeHost } from './host.ts'
import { createLaneGuard } from './lane-guard.ts'
import type { LaneGuard } from './lane-guard.ts'
import { createLanePool } from './lane-pool.ts'
import { laneAt, listLaneNames, removeLanes } from './lanes.ts'
import type { Lane } from './lanes.ts'
import { bridgeName, gatewayOf } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import type { PodAttachment, PodIdentity, PodNetwork, PodNetworkOptions } from './pod-network.ts'

/**
 * Opens the pod network made of network namespaces: one per pod, joined to a bridge by a veth pair. A few namespaces are
 * made ahead of demand, so that attaching a pod is usually one small file write.
 */
export async function openNamespaces(
  dir: string,
  plan: NetworkPlan,
  options: Pick<PodNetworkOptions, 'ready' | 'onError'>,
): Promise<PodNetwork> {
  const guard = await prepare()
  const files = await openAttachments(join(dir, 'pods'))
  const addresses = createAddressPool(plan.podCidr)
  const pool = createLanePool(plan, { addresses, guard, ready: options.ready, onError: options.onError })
  const busy = new Map<string, Promise<unknown>>()
  let closed = false

  await adopt()
  pool.fill()

  /** Where the kernel has no rules for this, `onError` is told, and pods may use addresses of others, as on most clusters. */
  async function prepare(): Promise<LaneGuard | undefined> {
    const existing = (await listLaneNames(plan)).map((netns) => laneAt(plan, addressOfLane(plan, netns)))
    const lanes = existing.filter((lane) => lane !== undefined)
    const created = createLaneGuard(plan, lanes)
    const { guardFailure } = await prepareHost(plan, created.commands)
    if (guardFailure === undefined) return created
    options.onError?.(networkCommand('guard pods of', bridgeName(plan), guardFailure))
    return undefined
  }

  /** Keeps what an earlier run attached and still exists; sweeps everything else that carries the cluster's id. */
  async function adopt(): Promise<void> {
    const existing = new Set(await listLaneNames(plan))
    for (const attachment of files.all.values()) {
      const lane = laneAt(plan, attachment.ip)
      if (lane !== undefined && existing.delete(lane.netns) && addresses.claim(attachment.ip)) continue
      // The machine was restarted, or the range has changed: the pod gets a new place when it is attached again.
      await files.remove(attachment.uid)
    }
    const orphans = [...existing].map((netns) => orphanOf(netns))
    if (orphans.length > 0) await removeLanes(plan, orphans)
  }

  /** Runs the work for one uid after whatever is under way for it: an attach never overtakes a detach. */
  function inTurn<T>(uid: string, work: () => Promise<T>): Promise<T> {
    const previous = busy.get(uid) ?? Promise.resolve()
    const turn = previous.then(work, work)
    const settled = turn
      .catch(() => {})
      .finally(() => {
        if (busy.get(uid) === settled) busy.delete(uid)
      })
    busy.set(uid, settled)
    return turn
  }

  async function attach(pod: PodIdentity): Promise<PodAttachment> {
    const known = files.all.get(pod.uid)
    if (known !== undefined) return { ip: known.ip, netnsPath: netnsPath(plan, known.ip) }
    if (closed) throw networkClosed('attach pod', `${pod.namespace}/${pod.name}`)
    const lane = await pool.take()
    try {
      await files.write({ ...pod, ip: lane.ip })
    } catch (error) {
      await files.remove(pod.uid).catch(() => {})
      await pool.discard([lane])
      throw error
    }
    // Later: starting a process now would hold up this pod for the sake of the next one.
    setImmediate(() => pool.fill())
    return { ip: lane.ip, netnsPath: netnsPath(plan, lane.ip) }
  }

  async function detach(uid: string): Promise<void> {
    const attachment = files.all.get(uid)
    if (attachment === undefined) return
    const lane = laneAt(plan, attachment.ip)
    if (lane !== undefined) await pool.discard([lane])
    // Last, so that a crash in between leaves the record and the node agent detaches again.
    await files.remove(uid)
  }

  return {
    plan,
    gateway: gatewayOf(plan),
    attach: (pod) => inTurn(pod.uid, () => attach(pod)),
    detach: (uid) => inTurn(uid, () => detach(uid)),
    attached: () => [...files.all.values()],
    async close(closing) {
      if (closed) return
      closed = true
      await pool.close()
      await Promise.all(busy.values())
      const remove = closing?.remove === true
      const owned = remove
        ? [...files.all.values()].map(({ ip }) => laneAt(plan, ip)).filter((lane) => lane !== undefined)
        : []
      const lanes = [...pool.drain(), ...owned]
      if (lanes.length > 0) await removeLanes(plan, lanes)
      if (!remove) return
      for (const uid of files.all.keys()) await files.remove(uid)
      await removeHost(plan)
    },
  }
}

function netnsPath(plan: NetworkPlan, ip: string): string | undefined {
  const lane = laneAt(plan, ip)
  return lane === undefined ? undefined : `/run/netns/${lane.netns}`
}

/** The address that `fl<id>-<offset>` was made for. */
function addressOfLane({ podCidr }: NetworkPlan, netns: string): string {
  const offset = Number.parseInt(netns.slice(netns.indexOf('-') + 1), 16)
  const range = parseCidr(podCidr)
  return range === undefined || Number.isNaN(offset) ? '' : addressAt(range, offset)
}

function orphanOf(netns: string): Lane {
  return { netns, veth: netns.replace('-', 'v'), ip: '' }
}
