import { createHash } from 'node:crypto'

import type { Version2 } from '../openapi/merge-version2.ts'
import { partOf } from '../openapi/merge-version2.ts'
import type { ProxyTarget } from '../proxy/target.ts'
import { ask } from './ask.ts'
import type { Reply } from './ask.ts'

/** Addresses of OpenAPI v3 documents by `apis/GROUP/VERSION`, as a server lists them. */
export type DocumentPaths = Readonly<Record<string, { readonly serverRelativeURL: string }>>

/** A server behind this one: the name of its APIService and what that says of it. */
export interface DocumentedServer {
  readonly name: string
  readonly group: string
  readonly version: string
  readonly priority: number
}

interface Known extends DocumentedServer {
  readonly paths: DocumentPaths
  readonly part: Version2 | undefined
  /** Of the part as it came. */
  readonly etag: string | undefined
  /** When to ask again, and how long to wait after a failure. */
  readonly nextAt: number
  readonly waitMs: number
}

const minuteMs = 60_000
const longestWaitMs = 60 * minuteMs
const limits = { deadlineMs: 30_000, maxBytes: 16 << 20 } as const
const asker = { user: 'system:aggregator' } as const

/**
 * The OpenAPI documents of servers behind this one. Each is asked every minute, one that fails less and less often
 * up to once an hour; meanwhile what it said last holds. One that never answered has no part in anything.
 */
export class RemoteDocuments {
  readonly #known = new Map<string, Known>()
  readonly #asking = new Set<string>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /** What is merged into version 2, the APIServices with the highest priority first. */
  parts(): readonly Version2[] {
    const sorted = [...this.#known.values()].toSorted((a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1))
    return sorted.flatMap(({ part }) => (part === undefined ? [] : [part]))
  }

  /** The documents of version 3 that others have. */
  paths(): DocumentPaths {
    return Object.assign({}, ...[...this.#known.values()].map(({ paths }) => paths)) as DocumentPaths
  }

  /** The APIService whose server has the document of version 3 at `path`. */
  ownerOf(path: string): string | undefined {
    return [...this.#known.values()].find(({ paths }) => Object.hasOwn(paths, path))?.name
  }

  forget(name: string): void {
    this.#known.delete(name)
  }

  /** Asks a server for its documents when it is time to. Never rejects: a failure is a reason to ask again later. */
  async refresh(server: DocumentedServer, target: () => ProxyTarget): Promise<void> {
    const { name } = server
    const before = this.#known.get(name) ?? { ...server, ...nothing }
    if (this.#asking.has(name) || before.nextAt > this.#now()) return
    this.#asking.add(name)
    this.#known.set(name, { ...before, ...server })
    try {
      const read = await readDocuments(server, target(), before)
      this.#replace(name, { ...read, nextAt: this.#now() + minuteMs, waitMs: minuteMs })
    } catch {
      const waitMs = Math.min(before.waitMs * 2, longestWaitMs)
      this.#replace(name, { nextAt: this.#now() + before.waitMs, waitMs })
    } finally {
      this.#asking.delete(name)
    }
  }

  /** Whoever was forgotten meanwhile stays so. */
  #replace(name: string, change: Partial<Known>): void {
    const known = this.#known.get(name)
    if (known !== undefined) this.#known.set(name, { ...known, ...change })
  }
}

const nothing = { paths: {}, part: undefined, etag: undefined, nextAt: 0, waitMs: minuteMs } as const

type Read = Pick<Known, 'paths' | 'part' | 'etag'>

async function readDocuments(server: DocumentedServer, target: ProxyTarget, known: Read): Promise<Read> {
  const version3 = await ask(target, { path: '/openapi/v3', ...asker, ...limits })
  const paths = version3.status === 404 ? {} : pathsIn(bodyOf(version3), server.group)
  // Only a server's own words for a version mean something to it.
  const etag = known.etag?.startsWith(localPrefix) === true ? undefined : known.etag
  const version2 = await ask(target, { path: '/openapi/v2', etag, ...asker, ...limits })
  if (version2.status === 304) return { paths, part: known.part, etag: known.etag }
  if (version2.status === 404) return { paths, part: undefined, etag: undefined }
  const found = version2.etag ?? localTag(version2.text)
  if (found === known.etag) return { paths, part: known.part, etag: found }
  return { paths, part: partOf(bodyOf(version2), `/apis/${server.group}/${server.version}/`), etag: found }
}

const localPrefix = '"local-'

function localTag(text: string): string {
  return `${localPrefix}${createHash('sha256').update(text).digest('hex')}"`
}

function bodyOf({ status, text }: Reply): Record<string, unknown> {
  if (status !== 200) throw new Error(`bad status from the server: ${status}`)
  const body: unknown = JSON.parse(text)
  if (typeof body !== 'object' || body === null) throw new TypeError('the answer is no object')
  return body as Record<string, unknown>
}

/** A server tells of its own group only, and of addresses below its own documents. */
function pathsIn({ paths }: Record<string, unknown>, group: string): DocumentPaths {
  const own = Object.entries((paths ?? {}) as Record<string, { serverRelativeURL?: unknown } | null>).filter(
    ([path, entry]) => {
      const url = entry?.serverRelativeURL
      const isOwn = path === `apis/${group}` || path.startsWith(`apis/${group}/`)
      return isOwn && typeof url === 'string' && url.startsWith('/openapi/v3/')
    },
  )
  return Object.fromEntries(own) as DocumentPaths
}
