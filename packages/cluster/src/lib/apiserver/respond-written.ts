import { notesOf } from './admission/scope.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { negotiate } from './negotiate.ts'
import type { Written } from './registry.ts'
import { respondObject } from './render.ts'
import type { Resource } from './resource.ts'

/** The answer to a write: the object as it is stored, with all warnings. */
export async function respondWritten(
  status: number,
  resource: Resource,
  written: Written,
  request: ApiRequest,
  warnings: readonly string[],
): Promise<ApiResponse> {
  const format = negotiate(request, resource)
  if (resource.form.prepare !== undefined) await resource.form.prepare([written.stored.bytes])
  const deprecation = resource.custom?.deprecation
  const noted = notesOf(request)?.warnings ?? []
  if (deprecation === undefined && warnings.length + noted.length === 0) {
    return respondObject(status, resource, written.stored, format)
  }
  // A patch that is worked out again warns again.
  const all = new Set([...(deprecation === undefined ? [] : [deprecation]), ...warnings, ...noted])
  return respondObject(status, resource, written.stored, format, warningHeader([...all]))
}

/** One value for each text, as RFC 7234 has it. */
export function warningHeader(warnings: readonly string[]): { warning: string[] } {
  return { warning: warnings.map((text) => `299 - ${JSON.stringify(text)}`) }
}
