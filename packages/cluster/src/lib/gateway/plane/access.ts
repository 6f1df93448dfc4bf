import type { Socket } from 'node:net'

/** Who may be reached by whom, besides what routes say: the gateway asks endpoints as the node does, which policies let through. */
export interface Access {
  /** Who is really at the other end of a connection: the node passes on those of load balancers. */
  clientOf(connection: Pick<Socket, 'remotePort' | 'localPort'>, address: string): string
  /** What a client may reach; undefined: everything. */
  permissionOf(
    client: string,
    options?: { readonly isEdge?: boolean | undefined },
  ): ((ip: string, port: number) => boolean) | undefined
}

/** What a request may reach by the listener it came to. */
export function permissionAt(
  access: Access | undefined,
  client: string,
  listener: { readonly isMesh: boolean },
): ReturnType<Access['permissionOf']> {
  return access?.permissionOf(client, listener.isMesh ? undefined : atEdge)
}

const atEdge = { isEdge: true }
