import type { ApiServices } from './aggregation/api-services.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { parseAccept } from './negotiate.ts'
import type { Document, OpenApi } from './openapi/document.ts'
import type { Version2 } from './openapi/merge-version2.ts'
import { respond } from './render.ts'
import { notAcceptable, pathNotFound } from './status.ts'

const yearMs = 365 * 24 * 60 * 60 * 1000

/** Answers `/openapi/v3` and the documents it names, and `/openapi/v2`; servers behind this one have their part in both. */
export async function serveOpenApi(
  openApi: OpenApi,
  { documents, forwardDocument }: Pick<ApiServices, 'documents' | 'forwardDocument'>,
  request: ApiRequest,
): Promise<ApiResponse> {
  if (request.path === '/openapi/v2') return serveVersion2(openApi, documents.parts(), request)
  const rest = request.path.replace(/^\/openapi\/v3\/?/, '')
  if (rest === request.path) throw pathNotFound()
  // What this server has itself, nobody else tells of.
  if (rest === '') return respond(200, { paths: { ...documents.paths(), ...openApi.index().paths } })
  const document = openApi.document(rest)
  if (document !== undefined) return send(document, 'application/json', request, caching(request, document.hash))
  const answer = await forwardDocument(rest, request)
  if (answer === undefined) throw pathNotFound()
  return answer
}

const version2Types: Readonly<Record<string, 'json' | 'protobuf'>> = {
  '*/*': 'json',
  'application/*': 'json',
  'application/json': 'json',
  // Clients ask with an @, which no media type may hold: the answer has a dot in its place.
  'application/com.github.proto-openapi.spec.v2@v1.0+protobuf': 'protobuf',
  'application/com.github.proto-openapi.spec.v2.v1.0+protobuf': 'protobuf',
}
const contentTypes = {
  json: 'application/json',
  protobuf: 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
} as const

function serveVersion2(openApi: OpenApi, parts: readonly Version2[], request: ApiRequest): ApiResponse {
  for (const { type } of parseAccept(request.headers['accept'])) {
    const encoding = version2Types[type]
    if (encoding !== undefined) return send(openApi.version2(encoding, parts), contentTypes[encoding], request)
  }
  throw notAcceptable(Object.values(contentTypes))
}

function send(
  { bytes, hash }: Document,
  contentType: string,
  request: ApiRequest,
  more: Readonly<Record<string, string>> = {},
): ApiResponse {
  const headers = { 'content-type': contentType, etag: `"${hash}"`, vary: 'Accept', ...more }
  if (request.headers['if-none-match'] === headers.etag) return { status: 304, headers, body: { pieces: [] } }
  return { status: 200, headers, body: { pieces: [bytes] } }
}

/** An address with the hash of the document always names the same bytes: clients keep them and ask no more. */
function caching(request: ApiRequest, hash: string): Record<string, string> {
  if (request.query.get('hash') !== hash) return {}
  return { 'cache-control': 'public, immutable', expires: new Date(Date.now() + yearMs).toUTCString() }
}
