import type { ApiResponse } from './exchange.ts'
import type { Resource } from './resource.ts'
import { warningHeader } from './respond-written.ts'

/** Kinds of the core group that Kubernetes 1.36 serves and warns of whoever asks for them. */
const deprecated: ReadonlyMap<string, string> = new Map([
  ['ComponentStatus', 'v1 ComponentStatus is deprecated in v1.19+'],
  ['Endpoints', 'v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice'],
])

/** The answer with a warning of a kind, or of a version of a definition, that is deprecated, before other warnings. */
export function withDeprecation({ info, custom }: Resource, answer: ApiResponse): ApiResponse {
  const text = custom === undefined ? builtInOf(info) : custom.deprecation
  if (text === undefined) return answer
  const warning = [warningHeader([text]).warning, answer.headers['warning'] ?? []].flat()
  return { ...answer, headers: { ...answer.headers, warning } }
}

function builtInOf({ group, kind }: Resource['info']): string | undefined {
  return group === '' ? deprecated.get(kind) : undefined
}
