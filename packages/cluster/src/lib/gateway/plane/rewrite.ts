import type { HeaderChange, PathChange, Redirect, RequestMatch, Rule } from '../model.ts'
import { parsePattern } from './match.ts'

/** The path after a change; `match` is what the request matched, whose prefix is replaced. */
export function changePath(path: string, change: PathChange, match: RequestMatch | undefined): string {
  if (change.kind === 'full') return change.value
  if (change.kind === 'regex') {
    // Envoy's substitution: every match, groups as \1.
    const value = change.value.replaceAll('$', '$$$$').replaceAll(/\\(\d)/g, '$$$1')
    return patternOf(change)?.matcher(path).replaceAll(value) ?? path
  }
  const matched = match?.path
  // An exact path is its own prefix. A path matched by an expression has none and is replaced as a whole (Istio).
  if (matched?.kind === 'regex') return change.value
  if (matched?.kind === 'segments') return replaceSegments(path, matched.value, change.value)
  return change.value + path.slice(matched?.value.length ?? 1)
}

/** What an endpoint is asked for: the path as its rule has it, with the query. Undefined when the rule makes something else of it. */
export function targetOf(
  { path: asked, query }: { readonly path: string; readonly query: string },
  { rule, match }: { readonly rule: Rule; readonly match: RequestMatch | undefined },
): string | undefined {
  const change = rule.rewrite?.path
  const path = change === undefined ? asked : changePath(asked, change, match)
  if (change !== undefined && !/^\/[\x21-\x7e]*$/.test(path)) return undefined
  return query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`
}

const patterns = new WeakMap<PathChange, { readonly pattern: ReturnType<typeof parsePattern> }>()

/** Compiled once for all requests. */
function patternOf(change: Extract<PathChange, { kind: 'regex' }>): ReturnType<typeof parsePattern> {
  const known = patterns.get(change) ?? { pattern: parsePattern(change.pattern) }
  patterns.set(change, known)
  return known.pattern
}

/** Gateway API, HTTPPathModifier: `/foo/bar` with prefix `/foo` replaced by `/` or the empty string is `/bar`. */
function replaceSegments(path: string, prefix: string, value: string): string {
  const rest = path.slice(prefix.endsWith('/') ? prefix.length - 1 : prefix.length)
  const base = value.endsWith('/') ? value.slice(0, -1) : value
  return base + rest || '/'
}

const ownPort: Readonly<Record<string, number>> = { http: 80, https: 443 }

/** The Location of a redirect. */
export function renderLocation(
  redirect: Redirect,
  request: { scheme: string; authority: string; host: string; path: string; query: string; port: number },
  match: RequestMatch | undefined,
): string {
  const scheme = redirect.scheme ?? request.scheme
  const path = redirect.path === undefined ? request.path : changePath(request.path, redirect.path, match)
  const asked = Number(/:(\d+)$/.exec(request.authority)?.[1] ?? ownPort[request.scheme])
  const port = redirect.port ?? portOf(redirect, scheme, request, asked)
  const authority = `${redirect.host ?? request.host}${port === undefined || port === ownPort[scheme] ? '' : `:${port}`}`
  return `${scheme}://${authority}${path}${request.query === '' || path.includes('?') ? '' : `?${request.query}`}`
}

function portOf(
  redirect: Redirect,
  scheme: string,
  request: { scheme: string; port: number },
  asked: number,
): number | undefined {
  if (redirect.keepsPort === true) return asked
  // Gateway API: with a scheme its own port, else that of the listener. We use the one that was asked for: it may stand
  // for the listener's.
  return redirect.scheme !== undefined && scheme !== request.scheme ? undefined : asked
}

/** Applies a change to headers by lower-case name. */
export function changeHeaders(headers: Record<string, string | string[]>, change: HeaderChange | undefined): void {
  if (change === undefined) return
  for (const [name, value] of change.set) headers[name] = value
  for (const [name, value] of change.add) {
    const known = Object.hasOwn(headers, name) ? headers[name] : undefined
    if (known === undefined) headers[name] = value
    else if (name === 'set-cookie') headers[name] = [...(Array.isArray(known) ? known : [known]), value]
    else headers[name] = `${Array.isArray(known) ? known.join(', ') : known},${value}`
  }
  for (const name of change.remove) delete headers[name]
}
