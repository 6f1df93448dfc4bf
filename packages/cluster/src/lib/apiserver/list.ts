import { setImmediate as nextTurn } from 'node:timers/promises'

import { parseExactJson, renderExactJson, renderYaml } from '@fairlead/kube/codec'
import type { ListMeta } from '@fairlead/kube/types'

import { codeOf } from '../errors.ts'
import type { Entry, Piece } from '../storage/collection.ts'
import type { Store } from '../storage/store.ts'
import { parseContinueToken, renderContinueToken } from './continue-token.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { parseListOptions } from './list-options.ts'
import type { ListOptions } from './list-options.ts'
import type { Format } from './negotiate.ts'
import { joinPieces } from './pieces.ts'
import { goTypeOf, isRaw, renderItem, renderListFrame, renderSeparator } from './render.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseSelection } from './selection.ts'
import type { Selection } from './selection.ts'
import { badRequest, expired, notAcceptableShape, tooLargeRevision } from './status.ts'

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
  if (format.shape === 'metadata' && !format.isListShape) {
    throw notAcceptableShape('PartialObjectMetadata', `a list (*${goTypeOf(resource)}List)`)
  }
  const options = parseListOptions(request.query)
  const selection = parseSelection(resource, route, request.query)
  const page = await findPage(store, resource, selection, options, request.signal)
  return await respondList(resource, page.entries, page.metadata, format)
}

/** An answer with these entries as a list. */
export async function respondList(
  resource: Resource,
  entries: readonly Entry[],
  metadata: ListMeta,
  format: Format,
): Promise<ApiResponse> {
  const pieces = await renderPage(resource, { entries, metadata }, format)
  const body = isRaw(format) ? pieces : [reformat(pieces, format)]
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

const revisionWaitMs = 3000
const sliceEntries = 2000
const sliceRows = 200

async function findPage(
  store: Store,
  resource: Resource,
  selection: Selection,
  options: ListOptions,
  signal: AbortSignal,
): Promise<Page> {
  const asked = options.revision ?? 0
  const start = options.continueToken === '' ? undefined : parseContinueToken(options.continueToken)
  if (start !== undefined && asked > 0) {
    throw badRequest('specifying resource version is not allowed when using continue')
  }
  if (asked > store.revision) await reachRevision(store, asked, signal)
  // "0" means anything will do; like upstream's cache, the whole list is then as good as a page.
  const limit = options.revision === 0 && start === undefined ? Infinity : options.limit
  const revision = start === undefined ? exactRevision(options, asked) : start.revision
  const shown = revision === undefined || revision < 0 ? store.revision : revision
  const { found, next, remaining } = await collect(store, resource, selection, {
    revision: shown,
    after: start?.after,
    limit,
  })
  const metadata: ListMeta = { resourceVersion: String(shown) }
  if (next !== undefined) {
    metadata.continue = renderContinueToken({ revision: shown, after: next })
    if (selection.isEverything) metadata.remainingItemCount = remaining
  }
  return { entries: found, metadata }
}

/** The one revision a list is to show; a page of a known revision is exact although nobody says so. */
function exactRevision({ match, limit }: ListOptions, asked: number): number | undefined {
  if (asked === 0) return undefined
  return match === 'Exact' || (match === '' && limit !== Infinity) ? asked : undefined
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
  if (selection.needsForm && resource.form.prepare !== undefined)
    await resource.form.prepare(listed.map(({ bytes }) => bytes))
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
    if (after === undefined) throw expired('The resourceVersion for the provided list is too old.')
    throw expired(inconsistent, renderContinueToken({ revision: -1, after }))
  }
}

/** Clients match the first sentence; the token given with it leads on, at the newest revision. */
const inconsistent =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.'

/** The pieces of a list; the objects among them are the stored bytes themselves. */
async function renderPage(resource: Resource, page: Page, format: Format): Promise<Piece[]> {
  if (resource.form.prepare !== undefined) await resource.form.prepare(page.entries.map(({ bytes }) => bytes))
  const items: Piece[] = []
  let size = 0
  // Rows, metadata and messages are computed, whole objects in JSON only passed on.
  const isStored = format.shape === 'object' && format.encoding !== 'protobuf'
  const turnEvery = isStored ? sliceEntries : sliceRows
  for (const [index, entry] of page.entries.entries()) {
    const item = renderItem(resource, entry, format)
    const separator = renderSeparator(item.length, index === 0, format)
    items.push(separator, item)
    size += separator.length + item.length
    if (index % turnEvery === turnEvery - 1) await nextTurn()
  }
  const { head, tail } = renderListFrame(resource, page.metadata, format, size)
  return [head, ...items, tail]
}

function reformat(pieces: readonly Piece[], format: Format): Buffer {
  const value = parseExactJson(joinPieces(pieces).toString('utf8'))
  return Buffer.from(format.encoding === 'yaml' ? renderYaml(value) : `${renderExactJson(value, 2)}\n`)
}
