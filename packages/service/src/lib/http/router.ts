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
  const values: string[] = []
  const route = findRoute(root, method, path, 1, values)
  if (route === undefined) return findOthers(root, path)
  const params: Record<string, string> = {}
  for (let index = 0; index < route.names.length; index++) {
    const value = decode(values[index] ?? '')
    if (value === undefined) return malformed
    params[route.names[index] ?? ''] = value
  }
  return { kind: 'found', route, params }
}

const notFound: RouteMatch = Object.freeze({ kind: 'not-found' })
const malformed: RouteMatch = Object.freeze({ kind: 'malformed' })

/** Leaves the text of the parameters in `values`, as it stands in the path. `start` is where the next segment begins. */
function findRoute(branch: Branch, method: string, path: string, start: number, values: string[]): Route | undefined {
  if (start > path.length) return branch.routes.get(method)
  const slash = path.indexOf('/', start)
  const end = slash === -1 ? path.length : slash
  const segment = path.slice(start, end)
  const fixed = branch.fixed.get(segment)
  const found = fixed && findRoute(fixed, method, path, end + 1, values)
  if (found !== undefined) return found
  if (branch.param !== undefined && segment !== '') {
    values.push(segment)
    const deeper = findRoute(branch.param, method, path, end + 1, values)
    if (deeper !== undefined) return deeper
    values.pop()
  }
  const last = branch.rest?.routes.get(method)
  if (last !== undefined) values.push(path.slice(start))
  return last
}

/** What there is at the path by other methods. */
function findOthers(root: Branch, path: string): RouteMatch {
  const others = new Map<string, Route>()
  const segments = path.slice(1).split('/')
  const collect = (branch: Branch | undefined): void => {
    for (const [method, route] of branch?.routes ?? []) if (!others.has(method)) others.set(method, route)
  }
  const visit = (branch: Branch | undefined, depth: number): void => {
    const segment = segments[depth]
    if (branch === undefined) return
    if (segment === undefined) {
      collect(branch)
      return
    }
    visit(branch.fixed.get(segment), depth + 1)
    if (segment !== '') visit(branch.param, depth + 1)
    collect(branch.rest)
  }
  visit(root, 0)
  const [other] = others.values()
  if (other === undefined) return notFound
  return { kind: 'method-not-allowed', template: other.template, allow: renderAllow(others.keys().toArray()) }
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
  if (names.some((name) => !/^(\*|[A-Za-z_]\w*)$/.test(name) || name === '__proto__'))
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
