import type { KindInfo } from '@fairlead/kube/types'

import type { ApiResponse } from './exchange.ts'

/** Kinds that Kubernetes 1.36 serves and warns of whoever asks for them. */
const deprecated: ReadonlyMap<string, string> = new Map([
  ['v1 ComponentStatus', 'v1 ComponentStatus is deprecated in v1.19+'],
  ['v1 Endpoints', 'v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice'],
])

/** The answer with a warning of a built-in kind that is deprecated, before other warnings. */
export function withDeprecation({ group, apiVersion, kind }: KindInfo, answer: ApiResponse): ApiResponse {
  if (group !== '') return answer
  const text = deprecated.get(`${apiVersion} ${kind}`)
  if (text === undefined) return answer
  const warning = [`299 - ${JSON.stringify(text)}`, answer.headers['warning'] ?? []].flat()
  return { ...answer, headers: { ...answer.headers, warning } }
}
