import { setImmediate as nextTurn } from 'node:timers/promises'

import { renderYaml } from '@fairlead/kube/codec'
import type { ListMeta } from '@fairlead/kube/types'

import { codeOf } from '../errors.ts'
import type { Entry } from '../storage/collection.ts'
import type { Store } from '../storage/store.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import type { Format } from './negotiate.ts'
import { renderItem, renderListFrame } from './render.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseSelection } from './selection.ts'
import type { Selection } from './selection.ts'
import { badRequest, expired, tooLargeRevision } from './status.ts'

interface Page {
  readonly entries: readonly Entry[]
  readonly metadata: ListMeta
}

/** Serves a list. Long ones give other requests a turn after every megabyte. */
export async function serveList(
  store: Store,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
  format: Format,
): Promise<ApiResponse> {
  const selection = parseSelection(resource, route, request.query)
  const page = await findPage(store, resource, selection, request)
  const pieces = await renderPage(resource, page, format)
  const isPlain = format.encoding === 'json' && !format.isPretty
  const body = isPlain ? pieces : [reformat(pieces, format)]
  return { status: 200, headers: { 'content-type': format.contentType }, body: { pieces: body } }
}

/** Every object that the selection covers, now; for deletions of collections. */
export async function selectAll(store: Store, resource: Resource, selection: Selection): Promise<Entry[]> {
  return (await collect(store, resource, selection, { revision: undefined, after: undefined, limit: Infinity })).found
}

/** Resolves when the store has reached `revision`; after three seconds the client is told to come back. */
export async function reachRevision(store: Store, revision: number, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + revisionWaitMs
  while (store.revision < revision) {
    if (Date.now() >= deadline || signal.aborted) throw tooLargeRevision(revision, store.revision)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** A `resourceVersion` parameter as a number; undefined when it is empty. */
export function parseRevision(text: string | null): number | undefined {
  if (text === null || text === '') return undefined
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`resourceVersion: Invalid value: "${text}": must be a whole number`)
  return Number(text)
}

const revisionWaitMs = 3000
const sliceBytes = 1 << 20
const sliceEntries = 2000
const sliceRows = 200

async function findPage(store: Store, resource: Resource, selection: Selection, request: ApiRequest): Promise<Page> {
  const { query, signal } = request
  const token = query.get('continue') ?? ''
  const start = token === '' ? undefined : parseToken(token)
  const asked = parseRevision(query.get('resourceVersion'))
  const match = query.get('resourceVersionMatch') ?? ''
  if (start !== undefined && asked !== undefined && asked !== 0) {
    throw badRequest('specifying resource version is not allowed when using continue')
  }
  if (asked !== undefined && asked > store.revision) await reachRevision(store, asked, signal)
  const revision = start?.revision ?? (match === 'Exact' && asked !== undefined && asked > 0 ? asked : store.revision)
  // "0" means anything will do; like upstream's cache, the whole list is then as good as a page.
  const limit = asked === 0 && start === undefined ? Infinity : parseLimit(query.get('limit'))
  const { found, next, remaining } = await collect(store, resource, selection, { revision, after: start?.after, limit })
  const metadata: ListMeta = { resourceVersion: String(revision) }
  if (next !== undefined) {
    metadata.continue = renderToken({ revision, after: next })
    if (selection.isEverything) metadata.remainingItemCount = remaining
  }
  return { entries: found, metadata }
}

interface Reach {
  revision: number | undefined
  after: string | undefined
  limit: number
}

async function collect(
  store: Store,
  resource: Resource,
  selection: Selection,
  { revision, after, limit }: Reach,
): Promise<{ found: Entry[]; next: string | undefined; remaining: number }> {
  const found: Entry[] = []
  let next: string | undefined
  let remaining = 0
  const listed = listEntries(store, resource, selection, revision, after)
  for (const [index, entry] of listed.entries()) {
    if (found.length >= limit) {
      // One more shows that there is a next page; counting the rest costs nothing without a selector.
      next = found.at(-1)?.id
      if (!selection.isEverything) break
      remaining = listed.length - index
      break
    }
    if (selection.isEverything || selection.matches(entry)) found.push(entry)
    if (!selection.isEverything && index % sliceEntries === sliceEntries - 1) await nextTurn()
  }
  return { found, next, remaining }
}

/** The entries as they are at this moment: what follows may take turns while the collection changes. */
function listEntries(
  store: Store,
  resource: Resource,
  selection: Selection,
  revision: number | undefined,
  after: string | undefined,
): readonly Entry[] {
  if (selection.id !== undefined && (revision === undefined || revision === store.revision)) {
    const entry = store.get(resource.collection, selection.id)
    return entry === undefined ? [] : [entry]
  }
  try {
    return [...store.list(resource.collection, { prefix: selection.prefix, after, revision })]
  } catch (error) {
    if (codeOf(error) !== 'FAIRLEAD_CLUSTER_STORAGE_GONE') throw error
    throw expired(
      'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
    )
  }
}

async function renderPage(resource: Resource, page: Page, format: Format): Promise<Buffer[]> {
  await resource.form.prepare?.(page.entries.map(({ bytes }) => bytes))
  const { head, tail } = renderListFrame(resource, page.metadata, format)
  const slices: Buffer[] = []
  let slice: Buffer[] = [head]
  let bytes = head.length
  for (const [index, entry] of page.entries.entries()) {
    const item = renderItem(resource, entry, format)
    if (index > 0) slice.push(comma)
    slice.push(item)
    bytes += item.length
    // Rows and metadata are computed for each answer, whole objects only copied.
    if (format.shape !== 'object' && index % sliceRows === sliceRows - 1) await nextTurn()
    if (bytes < sliceBytes) continue
    slices.push(Buffer.concat(slice))
    slice = []
    bytes = 0
    await nextTurn()
  }
  slices.push(Buffer.concat([...slice, tail]))
  return slices
}

const comma = Buffer.from(',')

function reformat(pieces: readonly Buffer[], format: Format): Buffer {
  const value: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'))
  return Buffer.from(format.encoding === 'yaml' ? renderYaml(value) : `${JSON.stringify(value, null, 2)}\n`)
}

function parseLimit(text: string | null): number {
  if (text === null || text === '' || text === '0') return Infinity
  const limit = Number(text)
  if (!Number.isInteger(limit) || limit < 0) throw badRequest(`limit: Invalid value: "${text}": must be a whole number`)
  return limit
}

interface Token {
  revision: number
  after: string
}

function renderToken({ revision, after }: Token): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: after })).toString('base64url')
}

function parseToken(text: string): Token {
  try {
    const parsed = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as { rv?: unknown; start?: unknown }
    if (typeof parsed.rv === 'number' && typeof parsed.start === 'string')
      return { revision: parsed.rv, after: parsed.start }
  } catch {
    // Falls through to the one message for every unreadable token.
  }
  throw badRequest('continue key is not valid')
}
