import { RE2JS } from 're2js'
import { findHost } from '../hostname.ts'
import type { NamedMatch, RequestMatch, Rule, StringMatch, VirtualHost } from '../model.ts'

/** What rules look at. Header names are in lower case, values of a repeated header joined by `, `. */
export interface RequestFacts {
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** After the `?`; empty when there is none. */
  readonly query: string
  readonly authority: string
  /** Of `authority`, without port, in lower case. */
  readonly host: string
  readonly scheme: 'http' | 'https'
  readonly source: string
  header(name: string): string | undefined
}

/** The rule that takes a request, and the match that it did. */
export interface Found {
  readonly rule: Rule
  readonly match: RequestMatch | undefined
}

type Test = (request: RequestFacts) => boolean

/** Makes a list of hosts ready to be asked: expressions are compiled once. A regular expression that is not RE2 matches nothing. */
export function createMatcher(hosts: readonly VirtualHost[]): (request: RequestFacts) => Found | undefined {
  const byHost = new Map(hosts.map(({ hostname, rules }) => [hostname, rules.flatMap(compileRule)]))
  return (request) => {
    const rules = findHost(byHost, request.host)
    if (rules === undefined) return undefined
    for (const { test, found } of rules) if (test === undefined || test(request)) return found
    return undefined
  }
}

function compileRule(rule: Rule): { test: Test | undefined; found: Found }[] {
  if (rule.matches.length === 0) return [{ test: undefined, found: { rule, match: undefined } }]
  return rule.matches.map((match) => ({ test: compileMatch(match), found: { rule, match } }))
}

function compileMatch(match: RequestMatch): Test | undefined {
  const tests = [...pathTests(match), ...ofString(match.method, ({ method }) => method)]
  tests.push(
    ...ofString(match.authority, ({ authority }) => authority),
    ...ofString(match.scheme, ({ scheme }) => scheme),
  )
  for (const header of match.headers ?? []) tests.push(ofNamed(header, (request) => request.header(header.name)))
  for (const query of match.query ?? []) tests.push(ofNamed(query, (request) => queryValue(request.query, query.name)))
  const { sources } = match
  if (sources !== undefined) tests.push(({ source }) => sources.has(source))
  const [first, ...others] = tests
  return others.length === 0 ? first : (request) => tests.every((test) => test(request))
}

function pathTests({ path, ignorePathCase = false }: RequestMatch): Test[] {
  if (path === undefined || (path.kind !== 'exact' && path.kind !== 'regex' && path.value === '/')) return []
  if (path.kind === 'regex') return ofString({ kind: 'regex', value: path.value }, (request) => request.path)
  const fold = (text: string): string => (ignorePathCase ? text.toLowerCase() : text)
  const wanted = fold(path.value)
  if (path.kind === 'exact') return [(request) => fold(request.path) === wanted]
  if (path.kind === 'prefix') return [(request) => fold(request.path).startsWith(wanted)]
  return [(request) => hasSegments(fold(request.path), wanted)]
}

/** `/a` and `/a/` both stand for `/a` and everything below it, and not for `/ab` (Ingress and Gateway API, path type Prefix). */
function hasSegments(path: string, prefix: string): boolean {
  const base = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  return path.startsWith(base) && (path.length === base.length || path[base.length] === '/')
}

function ofString(match: StringMatch | undefined, read: (request: RequestFacts) => string): Test[] {
  if (match === undefined) return []
  const test = compileString(match)
  return [(request) => test(read(request))]
}

function ofNamed({ match, isAbsent = false }: NamedMatch, read: (request: RequestFacts) => string | undefined): Test {
  const test = match === undefined ? () => true : compileString(match)
  return (request) => {
    const value = read(request)
    return (value !== undefined && test(value)) !== isAbsent
  }
}

/** One string test; expressions have to match the whole. */
export function compileString({ kind, value }: StringMatch): (text: string) => boolean {
  if (kind === 'exact') return (text) => text === value
  if (kind === 'prefix') return (text) => text.startsWith(value)
  const pattern = parsePattern(value)
  return pattern === undefined ? () => false : (text) => pattern.matches(text)
}

/** A regular expression in RE2's syntax, which takes linear time whatever is sent; undefined when it is none. */
export function parsePattern(text: string): RE2JS | undefined {
  try {
    return RE2JS.compile(text)
  } catch {
    return undefined
  }
}

/** The first value of a query parameter. */
export function queryValue(query: string, name: string): string | undefined {
  return query === '' ? undefined : (new URLSearchParams(query).get(name) ?? undefined)
}
