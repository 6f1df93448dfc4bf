import { routeInvalid } from '../errors.ts'
import type { RouteContext, RouteSchemas } from './context.ts'

/**
 * Collects routes. A path is fixed segments, `:name` for one segment, and perhaps a final `*` for the rest; fixed wins
 * over `:name`, `:name` over `*`, whatever the order of adding. GET routes answer HEAD too.
 */
export interface Router<Uses = unknown> {
  readonly get: AddRoute<Uses>
  readonly post: AddRoute<Uses>
  readonly put: AddRoute<Uses>
  readonly patch: AddRoute<Uses>
  readonly delete: AddRoute<Uses>
}

export interface AddRoute<Uses> {
  <Path extends string>(
    path: Path,
    handler: (context: RouteContext<Uses, Path, RouteSchemas & NoSchemas>) => unknown,
  ): Router<Uses>
  <Path extends string, Schemas extends RouteSchemas>(
    path: Path,
    schemas: Schemas,
    handler: (context: RouteContext<Uses, Path, Schemas>) => unknown,
  ): Router<Uses>
}

interface NoSchemas {
  readonly params?: never
  readonly query?: never
  readonly headers?: never
  readonly body?: never
}

/** A handler with its context's type set aside; the router's types have checked it. */
type AnyHandler = (context: never) => unknown

export interface Route {
  readonly method: string
  readonly template: string
  readonly names: readonly string[]
  readonly schemas: RouteSchemas
  /** Whether there is anything to check, so that most requests need not look. */
  readonly hasSchemas: boolean
  readonly handler: AnyHandler
}

export type RouteMatch =
  | { readonly kind: 'found'; readonly route: Route; readonly params: Readonly<Record<string, string>> }
  | { readonly kind: 'method-not-allowed'; readonly template: string; readonly allow: string }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'not-found' }

export interface RouteTable<Uses> {
  readonly router: Router<Uses>
  readonly routes: readonly Route[]
  readonly match: (method: string, path: string) => RouteMatch
}

interface Branch {
  readonly fixed: Map<string, Branch>
  param?: Branch
  rest?: Branch
  /** Routes ending here, by method. */
  readonly routes: Map<string, Route>
}

const noParams: Readonly<Record<string, string>> = Object.freeze({})

export function createRouteTable<Uses>(): RouteTable<Uses> {
  const root = createBranch()
  /** Paths without parameters: one look-up finds them. */
  const exact = new Map<string, Branch>()
  const routes: Route[] = []

  const adder = (method: string): AddRoute<Uses> => {
    return (path: string, ...rest: readonly unknown[]) => {
      const [schemas, handler] = (rest.length === 1 ? [{}, rest[0]] : rest) as [RouteSchemas, AnyHandler]
      const route = { method, template: path, names: parseNames(path), schemas, hasSchemas: hasAny(schemas), handler }
      const branch = growBranch(root, path)
      if (branch.routes.has(method))
        throw routeInvalid(`${method} ${path}`, `${branch.routes.get(method)?.template} is there already`)
      branch.routes.set(method, route)
      if (route.names.length === 0) exact.set(path, branch)
      routes.push(route)
      return router
    }
  }
  const router: Router<Uses> = {
    get: adder('GET'),
    post: adder('POST'),
    put: adder('PUT'),
    patch: adder('PATCH'),
    delete: adder('DELETE'),
  }

  return {
    router,
    routes,
    match(method, path) {
      const wanted = method === 'HEAD' ? 'GET' : method
      const route = exact.get(path)?.routes.get(wanted)
      if (route !== undefined) return { kind: 'found', route, params: noParams }
      return matchTree(root, wanted, path)
    },
  }
}

function hasAny({ params, query, headers, body, response }: RouteSchemas): boolean {
  return [params, query, headers, body, response].some((schema) => schema !== undefined)
}

function matchTree(root: Branch, method: string, path: string): RouteMatch {
  const segments = path.slice(1).split('/')
  const others = new Map<string, Route>()
  const values: string[] = []
  const route = walk(root, 0)
  if (route === undefined) {
    const [other] = others.values()
    return other === undefined
      ? { kind: 'not-found' }
      : { kind: 'method-not-allowed', template: other.template, allow: renderAllow(others.keys().toArray()) }
  }
  const params: Record<string, string> = {}
  for (const [index, name] of route.names.entries()) {
    const value = decode(values[index] ?? '')
    if (value === undefined) return { kind: 'malformed' }
    params[name] = value
  }
  return { kind: 'found', route, params }

  function walk(branch: Branch, depth: number): Route | undefined {
    const segment = segments[depth]
    if (segment === undefined) return take(branch)
    const fixed = branch.fixed.get(segment)
    const found = fixed && walk(fixed, depth + 1)
    if (found) return found
    if (branch.param && segment !== '') {
      values.push(segment)
      const deeper = walk(branch.param, depth + 1)
      if (deeper) return deeper
      values.pop()
    }
    if (branch.rest === undefined) return undefined
    values.push(segments.slice(depth).join('/'))
    const last = take(branch.rest)
    if (last === undefined) values.pop()
    return last
  }

  function take(branch: Branch): Route | undefined {
    for (const [name, candidate] of branch.routes) if (!others.has(name)) others.set(name, candidate)
    return branch.routes.get(method)
  }
}

function growBranch(root: Branch, path: string): Branch {
  let branch = root
  for (const segment of path.slice(1).split('/')) {
    if (segment === '*') branch = branch.rest ??= createBranch()
    else if (segment.startsWith(':')) branch = branch.param ??= createBranch()
    else {
      const next = branch.fixed.get(segment) ?? createBranch()
      branch.fixed.set(segment, next)
      branch = next
    }
  }
  return branch
}

function createBranch(): Branch {
  return { fixed: new Map(), routes: new Map() }
}

function parseNames(path: string): readonly string[] {
  if (!path.startsWith('/')) throw routeInvalid(path, 'it does not begin with "/"')
  const segments = path.slice(1).split('/')
  const names = segments.flatMap((segment) =>
    segment.startsWith(':') ? [segment.slice(1)] : segment === '*' ? ['*'] : [],
  )
  if (names.some((name) => !/^(\*|[A-Za-z_]\w*)$/.test(name)))
    throw routeInvalid(path, 'a parameter has no proper name')
  if (new Set(names).size < names.length) throw routeInvalid(path, 'two parameters have the same name')
  if (segments.slice(0, -1).includes('*')) throw routeInvalid(path, '"*" is not its last segment')
  return names
}

/** Undefined for a malformed percent-encoding. */
function decode(segment: string): string | undefined {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

function renderAllow(methods: readonly string[]): string {
  const all = new Set([...methods, 'OPTIONS'])
  if (all.has('GET')) all.add('HEAD')
  return [...all].toSorted().join(', ')
}
