import { rename, writeFile } from 'node:fs/promises'
import { usableEndpoints } from './service-ports.ts'
import type { ServiceEntry, ServiceTable } from './service-table.ts'

/** The Service table of a process-mode cluster, as the preload module reads it. */
interface ProcessTable {
  readonly domain: string
  /** The process that redirected connections are passed on by. */
  readonly owner: number
  /** By `namespace/name`. */
  readonly services: Readonly<Record<string, ProcessService>>
  /** Virtual address to `namespace/name`. */
  readonly addresses: Readonly<Record<string, string>>
}

/** One Service in a {@link ProcessTable}. */
interface ProcessService {
  readonly clusterIP?: string | undefined
  readonly externalName?: string | undefined
  /** Endpoints by Service port; only for Services with a virtual address. */
  readonly ports: Readonly<Record<number, readonly (readonly [ip: string, port: number])[]>>
  /** Where ports are redirected to while the owner lives. */
  readonly redirects?: Readonly<Record<number, readonly [ip: string, port: number]>> | undefined
  /** Seconds a pod sticks to its endpoint; absent: not at all. */
  readonly affinitySeconds?: number | undefined
  /** Addresses of a headless Service. */
  readonly endpoints: readonly string[]
  /** Addresses of single pods of a headless Service, by host name. */
  readonly hosts: Readonly<Record<string, string>>
}

/** Writes the table and keeps it current, the file always being whole. */
export async function openProcessTable(options: {
  readonly path: string
  readonly table: ServiceTable
  readonly domain: string
  readonly onError?: ((error: unknown) => void) | undefined
}): Promise<{ settled(): Promise<void>; close(): Promise<void> }> {
  const { path, table, domain } = options
  let writing: Promise<void> | undefined
  let stale = true
  let closed = false

  async function write(): Promise<void> {
    try {
      while (stale) {
        stale = false
        await writeFile(`${path}.tmp`, JSON.stringify(renderProcessTable(table.entries, domain)))
        await rename(`${path}.tmp`, path)
      }
    } finally {
      writing = undefined
    }
  }

  table.onChange(() => {
    if (closed) return
    stale = true
    writing ??= write().catch((error: unknown) => options.onError?.(error))
  })
  // A change meanwhile joins it: two at once would take each other's file away.
  writing = write()
  await writing
  return {
    async settled() {
      await table.settled()
      await writing
    },
    async close() {
      closed = true
      await writing
    },
  }
}

/** The table for these Services. Pure. */
function renderProcessTable(entries: ReadonlyMap<string, ServiceEntry>, domain: string): ProcessTable {
  const services: Record<string, ProcessService> = {}
  const addresses: Record<string, string> = {}
  for (const [key, entry] of entries) {
    services[key] = renderService(entry)
    for (const address of entry.ports[0]?.addresses ?? []) addresses[address] = key
  }
  return { domain, owner: process.pid, services, addresses }
}

function renderService({ service, slices, ports }: ServiceEntry): ProcessService {
  if (service.spec?.type === 'ExternalName') {
    return { externalName: service.spec.externalName, ports: {}, endpoints: [], hosts: {} }
  }
  const clusterIP = ports[0]?.addresses[0]
  if (clusterIP !== undefined) {
    const tcp = ports.filter(({ protocol }) => protocol === 'tcp')
    const byPort = tcp.map(({ port, backends }) => [
      port,
      backends.map((backend) => [backend.ip, backend.port] as const),
    ])
    const affinitySeconds = tcp.find((port) => port.affinitySeconds !== undefined)?.affinitySeconds
    const moved = tcp.flatMap(({ port, redirect }) =>
      redirect === undefined ? [] : [[port, [redirect.ip, redirect.port]] as const],
    )
    const redirects = moved.length === 0 ? {} : { redirects: Object.fromEntries(moved) }
    return { clusterIP, ports: Object.fromEntries(byPort), affinitySeconds, endpoints: [], hosts: {}, ...redirects }
  }
  const endpoints = usableEndpoints(slices.flatMap((slice) => slice.endpoints ?? []))
  const named = endpoints.filter(({ hostname }) => hostname !== undefined)
  return {
    ports: {},
    endpoints: [...new Set(endpoints.flatMap((endpoint) => endpoint.addresses.slice(0, 1)))],
    hosts: Object.fromEntries(named.map((endpoint) => [endpoint.hostname, endpoint.addresses[0]])),
  }
}
