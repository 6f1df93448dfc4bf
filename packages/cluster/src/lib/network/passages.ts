import type { Socket } from 'node:net'
import { allows } from './policy/reach.ts'
import type { PolicyFacts } from './policy/facts.ts'

/** Whether an endpoint may be reached. */
export type Permission = (ip: string, port: number) => boolean

/**
 * Connections between others that the node passes on. The packet filter takes them for the node's own, which may go everywhere, so
 * whoever passes them on asks here.
 */
export interface Passages {
  /**
   * What the policies let a client reach; undefined while that is everything. The same function is given until policies, pods or
   * namespaces change. `isEdge`: the gateway asks for a client outside, and may be allowed by its own name.
   */
  permissionOf(client: string, options?: { readonly isEdge?: boolean | undefined }): Permission | undefined
  /** Tells that a connection of ours to a port of the node is made for another. Forgotten when it closes. */
  note(connection: Socket, client: string): void
  /** Who is really at the other end of a connection from `address` to the node: the one it is made for, or that address. */
  clientOf(connection: Pick<Socket, 'remotePort' | 'localPort'>, address: string): string
}

export interface PassagesOptions {
  /** The node as pods see it. */
  readonly node: string
  /** What policies are decided by now; undefined while there are none. A new object at each change. */
  readonly facts: () => PolicyFacts | undefined
}

/** The gateway as policies may name it: on most clusters it is a pod, and a namespace of its own is let in. */
const gatewayIdentity = {
  namespace: 'kube-system',
  labels: { 'app.kubernetes.io/name': 'fairlead-gateway' },
}

/** Clients outside may be any number. */
const mostRemembered = 4096

export function createPassages({ node, facts }: PassagesOptions): Passages {
  const clients = new Map<string, string>()
  let known: PolicyFacts | undefined
  let permissions = new Map<string, Permission>()

  function permissionOf(
    client: string,
    { isEdge = false }: { readonly isEdge?: boolean | undefined } = {},
  ): Permission | undefined {
    const now = facts()
    if (now === undefined) return undefined
    if (now !== known || permissions.size >= mostRemembered) permissions = new Map()
    known = now
    const key = isEdge ? `edge ${client}` : client
    const permission = permissions.get(key) ?? createPermission(now, client, isEdge)
    permissions.set(key, permission)
    return permission
  }

  function createPermission(now: PolicyFacts, source: string, isEdge: boolean): Permission {
    const answers = new Map<string, boolean>()
    const isFromNode = source === node
    const inPlace = isEdge ? gatewayIdentity : undefined
    return (destination, port) => {
      const key = `${destination}:${port}`
      const answer =
        answers.get(key) ?? allows(now, { source, destination, protocol: 'tcp', port, isFromNode, inPlace })
      answers.set(key, answer)
      return answer
    }
  }

  return {
    permissionOf,
    note(connection, client) {
      const { localAddress, localPort, remoteAddress, remotePort } = connection
      if (remoteAddress !== node || localAddress === undefined) return
      const key = keyOf(localAddress, localPort, remotePort)
      clients.set(key, client)
      connection.once('close', () => clients.delete(key))
    },
    clientOf(connection, address) {
      // Asked at every request, for what hardly ever is.
      if (clients.size === 0) return address
      return clients.get(keyOf(address, connection.remotePort, connection.localPort)) ?? address
    },
  }
}

/** A local port alone may be in use towards several places. */
function keyOf(address: string, port: number | undefined, listening: number | undefined): string {
  return `${address}:${port} ${listening}`
}
