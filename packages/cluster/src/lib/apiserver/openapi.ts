import type { ApiRequest, ApiResponse } from './exchange.ts'
import type { OpenApi } from './openapi/document.ts'
import { respond } from './render.ts'
import { pathNotFound } from './status.ts'

const yearMs = 365 * 24 * 60 * 60 * 1000

/** Answers `/openapi/v3` and the documents it names, and the shell of version 2. */
export function serveOpenApi(openApi: OpenApi, request: ApiRequest): ApiResponse {
  if (request.path === '/openapi/v2') return serveVersion2(request)
  const rest = request.path.replace(/^\/openapi\/v3\/?/, '')
  if (rest === request.path) throw pathNotFound()
  if (rest === '') return respond(200, openApi.index())
  const document = openApi.document(rest)
  if (document === undefined) throw pathNotFound()
  const headers = { 'content-type': 'application/json', etag: `"${document.hash}"`, vary: 'Accept' }
  if (request.headers['if-none-match'] === headers.etag) return { status: 304, headers, body: { pieces: [] } }
  return {
    status: 200,
    headers: { ...headers, ...caching(request, document.hash) },
    body: { pieces: [document.bytes] },
  }
}

// Clients ask with an @, which no media type may hold: the answer has a dot in its place.
const version2Asked = /application\/com\.github\.proto-openapi\.spec\.v2[@.]v1\.0\+protobuf/
const version2Protobuf = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf'
const version2Info = { title: 'Kubernetes', version: 'v1.36.0' }

/**
 * A version 2 document that describes nothing. kubectl asks for it, as protobuf only, before it applies a `List`, and checks
 * each item against the schemas it finds there; finding none, it leaves the check to `fieldValidation` of each write.
 */
function serveVersion2(request: ApiRequest): ApiResponse {
  if (!version2Asked.test(request.headers['accept'] ?? '')) {
    return respond(200, { swagger: '2.0', info: version2Info, paths: {} })
  }
  const info = Buffer.concat([protobufField(1, version2Info.title), protobufField(2, version2Info.version)])
  const bytes = Buffer.concat([protobufField(1, '2.0'), protobufField(2, info), protobufField(8, '')])
  return { status: 200, headers: { 'content-type': version2Protobuf, vary: 'Accept' }, body: { pieces: [bytes] } }
}

/** A length-delimited field below number 16 with fewer than 128 bytes: tag, length, content. */
function protobufField(number: number, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([Buffer.of((number << 3) | 2, bytes.length), bytes])
}

/** An address with the hash of the document always names the same bytes: clients keep them and ask no more. */
function caching(request: ApiRequest, hash: string): Record<string, string> {
  if (request.query.get('hash') !== hash) return {}
  return { 'cache-control': 'public, immutable', expires: new Date(Date.now() + yearMs).toUTCString() }
}
