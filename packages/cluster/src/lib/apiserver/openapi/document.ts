import { renderExactJson } from '@fairlead/kube/codec'
import { createHash } from 'node:crypto'

import type { Catalogue } from '../catalogue.ts'
import type { Resource } from '../resource.ts'
import { version2, version3 } from './dialect.ts'
import { renderSchemas } from './kind-schemas.ts'
import { mergeVersion2 } from './merge-version2.ts'
import type { Version2 } from './merge-version2.ts'
import { groupPath, renderPaths } from './paths.ts'
import { renderVersion2Protobuf } from './version2-protobuf.ts'

/** A document and a hash that is another one when the document is. */
export interface Document {
  readonly bytes: Buffer
  readonly hash: string
}

/** The OpenAPI documents of a server: version 3, one per group-version, and version 2, one for all. */
export interface OpenApi {
  /**
   * What `/openapi/v3` answers: the address of each document, which holds a hash of its bytes, so that clients may
   * keep it for good.
   */
  index(): { readonly paths: Readonly<Record<string, { readonly serverRelativeURL: string }>> }
  /** The document at `api/v1` or `apis/GROUP/VERSION`; undefined for what is not served. */
  document(path: string): Document | undefined
  /** All of it, with the parts of other servers. */
  version2(encoding: 'json' | 'protobuf', parts?: readonly Version2[]): Document
}

const info = { title: 'Kubernetes', version: 'v1.36.0' }

/** Documents of what the catalogue holds, rendered when asked for. Hashes are kept, bytes only as long as there is room. */
export function createOpenApi(catalogue: Catalogue): OpenApi {
  const kept = new Kept()
  let known = { revision: 0, byPath: new Map<string, readonly Resource[]>() }
  function byPath(): ReadonlyMap<string, readonly Resource[]> {
    if (known.revision !== catalogue.revision) {
      known = { revision: catalogue.revision, byPath: new Map(catalogue.groups.flatMap(pathsOf)) }
      kept.keepOnly(known.byPath)
    }
    return known.byPath
  }
  const document: OpenApi['document'] = (path) => {
    const resources = byPath().get(path)
    return resources === undefined ? undefined : kept.get(path, resources, () => renderVersion3(resources))
  }
  const hashOf = (path: string, resources: readonly Resource[]): string =>
    kept.hashOf(path, resources, () => renderVersion3(resources))
  return {
    document,
    index: () => ({
      paths: Object.fromEntries(
        [...byPath()].map(([path, resources]) => [
          path,
          { serverRelativeURL: `/openapi/v3/${path}?hash=${hashOf(path, resources)}` },
        ]),
      ),
    }),
    version2(encoding, parts = []) {
      const resources = [...byPath().values()].flat()
      const render = (): Buffer => renderVersion2(resources, encoding, parts)
      return kept.get(`version 2 ${encoding}`, [...resources, ...parts], render)
    },
  }
}

interface Rendered {
  /** What it was made of: each is another object when it says something else. */
  readonly sources: readonly object[]
  readonly hash: string
  /** Nearly all documents are asked for once per client, which keeps them: the memory is better used otherwise. */
  readonly bytes: WeakRef<Buffer>
}

class Kept {
  readonly #rendered = new Map<string, Rendered>()

  keepOnly(paths: ReadonlyMap<string, unknown>): void {
    for (const path of this.#rendered.keys()) {
      if (!paths.has(path) && !path.startsWith('version 2')) this.#rendered.delete(path)
    }
  }

  hashOf(path: string, sources: readonly object[], render: () => Buffer): string {
    const found = this.#rendered.get(path)
    return found !== undefined && isSame(found.sources, sources) ? found.hash : this.get(path, sources, render).hash
  }

  get(path: string, sources: readonly object[], render: () => Buffer): Document {
    const found = this.#rendered.get(path)
    const isCurrent = found !== undefined && isSame(found.sources, sources)
    const there = isCurrent ? found.bytes.deref() : undefined
    if (isCurrent && there !== undefined) return { bytes: there, hash: found.hash }
    const bytes = render()
    const hash = isCurrent ? found.hash : createHash('sha256').update(bytes).digest('hex').slice(0, 32).toUpperCase()
    this.#rendered.set(path, { sources, hash, bytes: new WeakRef(bytes) })
    return { bytes, hash }
  }
}

function pathsOf({ versions }: Catalogue['groups'][number]): [string, readonly Resource[]][] {
  return versions.flatMap(({ resources }) => {
    const first = resources[0]
    return first === undefined ? [] : [[groupPath(first.info), resources] satisfies [string, readonly Resource[]]]
  })
}

function isSame(a: readonly object[], b: readonly object[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index])
}

/**
 * The document of one group-version. kubectl reads from the paths whether fields are validated and dry runs possible, from the
 * schemas what `kubectl explain` shows.
 */
function renderVersion3(resources: readonly Resource[]): Buffer {
  const document = {
    openapi: '3.0.0',
    info,
    paths: Object.fromEntries(resources.flatMap((resource) => renderPaths(resource, version3))),
    components: { schemas: renderSchemas(resources, version3) },
  }
  return Buffer.from(renderExactJson(document))
}

function renderVersion2(
  resources: readonly Resource[],
  encoding: 'json' | 'protobuf',
  parts: readonly Version2[],
): Buffer {
  const own = {
    paths: Object.fromEntries(resources.flatMap((resource) => renderPaths(resource, version2))),
    definitions: renderSchemas(resources, version2),
  }
  const document = { swagger: '2.0', info, ...(parts.length === 0 ? own : mergeVersion2(own, parts)) }
  return encoding === 'json' ? Buffer.from(renderExactJson(document)) : renderVersion2Protobuf(document)
}
