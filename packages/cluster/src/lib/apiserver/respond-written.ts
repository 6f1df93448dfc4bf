import { notesOf } from './admission/scope.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { negotiate } from './negotiate.ts'
import type { Written } from './registry.ts'
import { respondObject } from './render.ts'
import type { Resource } from './resource.ts'

/** The answer to a write: the object as it is stored, with all warnings. A promise only where a webhook converts. */
export function respondWritten(
  status: number,
  resource: Resource,
  written: Written,
  request: ApiRequest,
  warnings: readonly string[],
): ApiResponse | Promise<ApiResponse> {
  const prepared = resource.form.prepare?.([written.stored.bytes])
  const render = (): ApiResponse => renderWritten(status, resource, written, request, warnings)
  return prepared === undefined ? render() : prepared.then(render)
}

function renderWritten(
  status: number,
  resource: Resource,
  written: Written,
  request: ApiRequest,
  warnings: readonly string[],
): ApiResponse {
  const format = negotiate(request, resource)
  const noted = notesOf(request)?.warnings ?? []
  if (warnings.length + noted.length === 0) return respondObject(status, resource, written.stored, format)
  // A patch that is worked out again warns again.
  const all = new Set([...warnings, ...noted])
  return respondObject(status, resource, written.stored, format, warningHeader([...all]))
}

/** From so many characters on, texts are cut and the rest is left out, as kube-apiserver has it: clients bound headers. */
const mostCharacters = 4096
const mostOfOne = 256

/** One value for each text, as RFC 7234 has it. */
export function warningHeader(warnings: readonly string[]): { warning: string[] } {
  return { warning: bounded(warnings).map((text) => `299 - ${toHeaderText(JSON.stringify(text))}`) }
}

/** UTF-8, as Go sends it: headers are bytes to Node, one for each character, and it throws at any other. */
function toHeaderText(text: string): string {
  return Buffer.from(text.replaceAll('\x7f', ''), 'utf8').toString('latin1')
}

function bounded(warnings: readonly string[]): readonly string[] {
  if (warnings.reduce((sum, { length }) => sum + length, 0) <= mostCharacters) return warnings
  const kept: string[] = []
  for (let written = 0, at = 0; written < mostCharacters && at < warnings.length; at += 1) {
    const text = Array.from((warnings[at] ?? '').slice(0, 2 * mostOfOne), String).slice(0, mostOfOne)
    kept.push(text.join(''))
    written += text.length
  }
  return kept
}
