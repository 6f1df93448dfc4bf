import type { IncomingMessage, ServerResponse } from 'node:http'

import { allow, linkToNext, MAX_PAGE, readBody, refuseMethod, sendText } from './call.ts'
import type { Call, HandlerParts } from './call.ts'
import { pageOf, parseRepository, RegistryRefusal } from './protocol.ts'
import { serveBlob } from './serve-blobs.ts'
import { serveManifest, serveReferrers } from './serve-manifests.ts'
import { serveUpload, startUpload } from './serve-uploads.ts'

const MAX_TOKEN_BODY = 16_384

/** Makes the function that answers requests of distribution-spec 1.1; it never throws. */
export function createHandler(
  parts: HandlerParts,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const handler = new Handler(parts)
  return (request, response) => handler.handle(request, response)
}

class Handler {
  readonly #parts: HandlerParts

  constructor(parts: HandlerParts) {
    this.#parts = parts
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? 'GET'
    response.setHeader('docker-distribution-api-version', 'registry/2.0')
    response.setHeader('x-content-type-options', 'nosniff')
    try {
      this.#checkSender(request)
      const url = new URL(request.url ?? '/', 'http://registry')
      if (url.pathname === '/token' && this.#parts.access.hasTokens) return await this.#token(request, response, url)
      if (url.pathname !== '/v2' && !url.pathname.startsWith('/v2/'))
        throw new RegistryRefusal(404, 'UNSUPPORTED', 'there is nothing here: the registry is below /v2/')
      const principal = await this.#parts.access.authenticate(request)
      await this.#route({ request, response, method, url, principal })
    } catch (error) {
      this.#fail(error, request, response)
    }
  }

  /** A page in somebody's browser may not reach a registry of this machine, by its own name (rebinding) or by ours. */
  #checkSender({ headers }: IncomingMessage): void {
    if (!this.#parts.isAllowedHost(headers.host)) {
      throw new RegistryRefusal(421, 'DENIED', 'the registry is not known by the name in the Host header')
    }
    const { origin } = headers
    if (origin !== undefined && origin !== 'null' && hostOf(origin) === headers.host) return
    if (origin !== undefined) throw new RegistryRefusal(403, 'DENIED', 'requests of other web pages are not answered')
  }

  #fail(error: unknown, request: IncomingMessage, response: ServerResponse): void {
    if (response.headersSent || response.destroyed) {
      // The client sees a broken transfer, not a short one.
      response.destroy()
      if (!isGone(error)) this.#report(error, request)
      return
    }
    const refusal = error instanceof RegistryRefusal ? error : refusalOf(error)
    if (refusal.status >= 500 && !isGone(error)) this.#report(error, request)
    for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value)
    response.statusCode = refusal.status
    // What is still being sent is not waited for: the connection ends with the answer.
    if (!request.complete && Number(request.headers['content-length'] ?? 1) > 0)
      response.setHeader('connection', 'close')
    sendText(request, response, 'application/json', refusal.toBody())
  }

  #report(error: unknown, request: IncomingMessage): void {
    this.#parts.onError(error, { method: request.method ?? '', path: (request.url ?? '').split('?')[0] ?? '' })
  }

  async #route(call: Call): Promise<void> {
    const { method, url } = call
    const path = url.pathname.replace(/^\/v2\/?/, '')
    if (path === '') return this.#ping(call)
    if (path === '_catalog')
      return method === 'GET' || method === 'HEAD' ? this.#catalog(call) : refuseMethod(call, 'GET, HEAD')
    const match = /^(.+)\/(?:(tags)\/list|(manifests|blobs|referrers)\/([^/]+)|(blobs)\/uploads\/?([^/]*))$/.exec(path)
    if (!match) throw new RegistryRefusal(404, 'UNSUPPORTED', 'there is no such endpoint')
    const [, name = '', tags, kind, target = '', uploads, id = ''] = match
    const isUploads = uploads !== undefined || (kind === 'blobs' && target === 'uploads')
    const repository = parseRepository(isUploads ? name : name)
    if (tags) return this.#tags(call, repository)
    if (isUploads)
      return id === '' ? startUpload(this.#parts, call, repository) : serveUpload(this.#parts, call, repository, id)
    if (kind === 'manifests') return serveManifest(this.#parts, call, repository, decodePart(target))
    if (kind === 'blobs') return serveBlob(this.#parts, call, repository, decodePart(target))
    return serveReferrers(this.#parts, call, repository, decodePart(target))
  }

  #ping(call: Call): void {
    const { access } = this.#parts
    if (access.mustLogIn(call.principal)) throw access.refusal(call.request, call.principal, [])
    sendText(call.request, call.response, 'application/json', '{}\n')
  }

  async #token(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { access } = this.#parts
    const isForm = request.method === 'POST'
    if (!isForm && request.method !== 'GET') return refuseMethod({ request, response }, 'GET, POST')
    const form = isForm ? new URLSearchParams((await readBody(request, MAX_TOKEN_BODY)).toString()) : url.searchParams
    if (isForm && form.get('grant_type') === 'password') {
      // The OAuth2 form of the token specification: the same check as for a header.
      const basic = Buffer.from(`${form.get('username') ?? ''}:${form.get('password') ?? ''}`).toString('base64')
      request.headers.authorization = `Basic ${basic}`
    } else if (isForm) {
      throw new RegistryRefusal(400, 'UNSUPPORTED', 'only the password grant is served')
    }
    const principal = await access.authenticate(request)
    const scopes = form
      .getAll('scope')
      .flatMap((scope) => scope.split(' '))
      .slice(0, 50)
    const { token, expiresInSeconds, issuedAt } = access.issue(principal, scopes)
    response.setHeader('cache-control', 'no-store')
    const answer = { token, access_token: token, expires_in: expiresInSeconds, issued_at: issuedAt }
    sendText(request, response, 'application/json', JSON.stringify(answer))
  }

  async #catalog(call: Call): Promise<void> {
    const { access, store } = this.#parts
    if (!access.mayList(call.principal)) {
      throw access.refusal(call.request, call.principal, [{ type: 'registry', name: 'catalog', actions: ['*'] }])
    }
    const all = await store.repositories()
    // A token for the catalog says nothing of repositories: its holder may know their names.
    const shown = call.principal.grants ? all : all.filter((name) => access.mayDo(call.principal, name, 'pull'))
    const { items, next } = pageOf(shown, call.url.searchParams, MAX_PAGE)
    linkToNext(call, next)
    sendText(call.request, call.response, 'application/json', JSON.stringify({ repositories: items }))
  }

  #tags(call: Call, repository: string): void {
    if (call.method !== 'GET' && call.method !== 'HEAD') return refuseMethod(call, 'GET, HEAD')
    allow(this.#parts, call, repository, 'pull')
    if (!this.#parts.store.hasRepository(repository)) throw nameUnknown(repository)
    const { items, next } = pageOf(this.#parts.store.tags(repository), call.url.searchParams, MAX_PAGE)
    linkToNext(call, next)
    sendText(call.request, call.response, 'application/json', JSON.stringify({ name: repository, tags: items }))
  }
}

function decodePart(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host
  } catch {
    return undefined
  }
}

/** The client went away in the middle: nobody's fault. */
function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'ABORT_ERR'].includes(code)
}

function refusalOf(error: unknown): RegistryRefusal {
  const isFull = (error as { code?: string }).code === 'FAIRLEAD_OCI_DISK_FULL'
  return isFull
    ? new RegistryRefusal(507, 'UNAVAILABLE', 'the disk of the registry is full', { cause: error })
    : new RegistryRefusal(500, 'UNKNOWN', 'the registry failed: see its log', { cause: error })
}

function nameUnknown(repository: string): RegistryRefusal {
  return new RegistryRefusal(404, 'NAME_UNKNOWN', 'the registry does not know the repository', {
    detail: { name: repository },
  })
}
