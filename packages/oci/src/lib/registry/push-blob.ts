import { registryAnswer } from '../errors.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import type { Reference } from '../spec/reference.ts'
import { checkConfirmed, nextUrl } from './answers.ts'
import { bodyOf, codeOf, scopeOf } from './exchange.ts'
import type { RegistryClient } from './client.ts'
import { withoutQuery } from './client-http.ts'
import type { HttpAnswer } from './client-http.ts'
import type { BlobTransfer } from './copy-tree.ts'

export interface PushBlobOptions {
  /** Repositories of the same registry that may have the blob, best first. */
  mountFrom?: readonly string[] | undefined
  /** Blobs up to this size go in one request; default 4 MiB. */
  monolithicBytes?: number | undefined
  /** Largest part of a larger blob in one request; default: the whole rest. */
  chunkBytes?: number | undefined
}

const MONOLITHIC_BYTES = 4 << 20
/** What is tried when the registry, or something before it, says that a request is too large. */
const SMALLER_CHUNK_BYTES = 8 << 20
/** The upload is forgotten, still busy with the request that broke off, too large for one request, elsewhere than we think. */
const RESUMABLE = [404, 409, 413, 416]
const CANCEL_TIMEOUT_MS = 2_000

/** An upload under way at the registry. */
interface Session {
  location: URL
  /** Bytes that the registry has. */
  offset: number
}

/**
 * Gives a blob to a repository (distribution-spec, "Pushing blobs"): not at all when it is there, by mounting when
 * another repository has it, else by sending it. What breaks off is taken up where the registry has it.
 */
export async function pushBlob(
  client: RegistryClient,
  reference: Reference,
  descriptor: Descriptor,
  transfer: BlobTransfer,
  options: PushBlobOptions = {},
): Promise<'known' | 'mounted' | 'done'> {
  const { signal } = transfer
  if (await client.hasBlob(reference, descriptor.digest, signal)) return 'known'
  const started = await mountOrStart(client, reference, descriptor.digest, options.mountFrom ?? [], signal)
  if (started === 'mounted') return 'mounted'
  let session: Session | undefined = started
  let { chunkBytes = Number.POSITIVE_INFINITY } = options
  try {
    for (let attempt = 1; ; attempt += 1) {
      const before: number = session?.offset ?? 0
      try {
        session ??= await start(client, reference, signal)
        await send(client, reference, descriptor, session, { ...options, chunkBytes }, transfer)
        return 'done'
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof Interrupted)) throw error
        if (error.status === 413 && chunkBytes > SMALLER_CHUNK_BYTES) chunkBytes = SMALLER_CHUNK_BYTES
        else if (attempt > client.retries) throw error.cause
        else await client.pause(attempt, signal)
        session = error.isLost || !session ? undefined : await statusOf(client, reference, session, signal)
        // What moves on may break off as often as it likes.
        if (session && session.offset > before) attempt = 0
      }
    }
  } catch (error) {
    if (session) await cancel(client, reference, session)
    throw error
  }
}

/** An upload that did not come through and may be taken up again. */
class Interrupted extends Error {
  readonly status: number
  /** Whether the registry does not know the upload any more. */
  readonly isLost: boolean
  constructor(cause: unknown, status: number, isLost: boolean) {
    super('interrupted', { cause })
    this.status = status
    this.isLost = isLost
  }
}

async function mountOrStart(
  client: RegistryClient,
  reference: Reference,
  digest: Digest,
  repositories: readonly string[],
  signal: AbortSignal,
): Promise<Session | 'mounted'> {
  const from = repositories.find((repository) => repository !== reference.repository)
  if (from === undefined) return start(client, reference, signal)
  const answer = await client
    .send({
      reference,
      act: 'push',
      method: 'POST',
      path: `blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`,
      scopes: [scopeOf(reference, 'pull,push'), scopeOf({ ...reference, repository: from }, 'pull')],
      signal,
    })
    .catch((error: unknown) => {
      // Not being allowed to read there is no reason not to write here.
      if (['FAIRLEAD_OCI_REGISTRY_DENIED', 'FAIRLEAD_OCI_REGISTRY_REFUSED'].includes(codeOf(error))) return undefined
      throw error
    })
  if (!answer) return start(client, reference, signal)
  await answer.discard()
  if (answer.status !== 201) return { location: locationOf(answer), offset: 0 }
  checkConfirmed(answer, digest)
  return 'mounted'
}

async function start(client: RegistryClient, reference: Reference, signal: AbortSignal): Promise<Session> {
  const answer = await client.send({ reference, act: 'push', method: 'POST', path: 'blobs/uploads/', signal })
  await answer.discard()
  return { location: locationOf(answer), offset: 0 }
}

async function send(
  client: RegistryClient,
  reference: Reference,
  descriptor: Descriptor,
  session: Session,
  options: PushBlobOptions & { chunkBytes: number },
  transfer: BlobTransfer,
): Promise<void> {
  const { digest, size } = descriptor
  const isSmall = size <= Math.min(options.monolithicBytes ?? MONOLITHIC_BYTES, options.chunkBytes)
  const isOneRequest = isSmall && session.offset === 0
  while (session.offset < size) {
    if (isOneRequest) break
    const end = Math.min(size, session.offset + options.chunkBytes)
    const isWhole = session.offset === 0 && end === size
    const answer = await attempt(
      client,
      {
        reference,
        act: 'push',
        method: 'PATCH',
        path: session.location,
        headers: {
          'content-type': 'application/octet-stream',
          // A blob that comes in one piece is sent as Docker does it, which every registry knows.
          ...(isWhole ? {} : { 'content-range': `${session.offset}-${end - 1}` }),
        },
        body: bodyPart(transfer, session.offset, end),
      },
      transfer,
    )
    session.location = locationOf(answer)
    const reached = endOf(answer) ?? end
    if (reached > end || reached <= session.offset) {
      throw registryAnswer(withoutQuery(answer.url), `it has ${reached} bytes of the upload, expected ${end}`)
    }
    session.offset = reached
  }
  const location = new URL(session.location)
  location.searchParams.set('digest', digest)
  const answer = await attempt(
    client,
    {
      reference,
      act: 'push',
      method: 'PUT',
      path: location,
      headers: { 'content-type': 'application/octet-stream' },
      body: session.offset === size ? bodyOf(new Uint8Array()) : bodyPart(transfer, 0, size),
      isSlow: true,
    },
    transfer,
  )
  checkConfirmed(answer, digest)
}

/** One request of an upload. It is not made again as it is: how far the registry came has to be asked first. */
async function attempt(
  client: RegistryClient,
  request: Parameters<RegistryClient['send']>[0],
  { signal, onMoved }: BlobTransfer,
): Promise<HttpAnswer> {
  try {
    const answer = await client.send({ ...request, retries: 0, accept: RESUMABLE, onSent: onMoved, signal })
    await answer.discard()
    if (!RESUMABLE.includes(answer.status)) return answer
    const state = `it answered the upload with status ${answer.status}`
    throw new Interrupted(registryAnswer(withoutQuery(answer.url), state), answer.status, answer.status === 404)
  } catch (error) {
    signal.throwIfAborted()
    if (codeOf(error) !== 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE') throw error
    throw new Interrupted(error, 0, false)
  }
}

/** How far the registry came; nothing when it has forgotten the upload. */
async function statusOf(
  client: RegistryClient,
  reference: Reference,
  session: Session,
  signal: AbortSignal,
): Promise<Session | undefined> {
  try {
    const answer = await client.send({
      reference,
      act: 'push',
      method: 'GET',
      path: session.location,
      scopes: [scopeOf(reference, 'pull,push')],
      signal,
    })
    await answer.discard()
    return { location: nextUrl(answer) ?? session.location, offset: endOf(answer) ?? 0 }
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

/** Tells the registry to forget an upload, so that nothing half is left there; it would in time by itself. */
async function cancel(client: RegistryClient, reference: Reference, session: Session): Promise<void> {
  const signal = AbortSignal.timeout(CANCEL_TIMEOUT_MS)
  const scopes = [scopeOf(reference, 'pull,push')]
  await client
    .send({ reference, act: 'push', method: 'DELETE', path: session.location, scopes, retries: 0, signal })
    .then((answer) => answer.discard())
    .catch(() => {})
}

function bodyPart(
  transfer: BlobTransfer,
  start: number,
  end: number,
): { size: number; open(): AsyncIterable<Uint8Array> } {
  return {
    size: end - start,
    async *open() {
      let left = end - start
      if (left === 0) return
      for await (const chunk of transfer.open(start)) {
        yield chunk.byteLength <= left ? chunk : chunk.subarray(0, left)
        left -= chunk.byteLength
        if (left <= 0) return
      }
    },
  }
}

function locationOf(answer: HttpAnswer): URL {
  const location = nextUrl(answer)
  if (!location) throw registryAnswer(withoutQuery(answer.url), 'it names no place for the upload')
  return location
}

/** Bytes that the registry has, of `Range: 0-99`. `0-0` is none to some and one to others: then it is none. */
function endOf(answer: HttpAnswer): number | undefined {
  const last = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers['range'] ?? '')?.[1]
  if (last === undefined) return undefined
  return last === '0' ? 0 : Number(last) + 1
}
