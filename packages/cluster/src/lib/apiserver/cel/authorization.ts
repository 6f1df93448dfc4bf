import { noOverload } from './operators.ts'
import type { Implementation } from './operators.ts'
import { Opaque } from './values.ts'
import type { Value } from './values.ts'

/** What an expression asks an authorizer. */
export interface AuthorizationCheck {
  readonly verb: string
  readonly path?: string | undefined
  readonly group: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}

/** Answers whether the user an expression looks at, or the service account it names, may do something. */
export type Decide = (
  check: AuthorizationCheck,
  serviceAccount?: { readonly namespace: string; readonly name: string },
) => { readonly allowed: boolean; readonly reason: string }

type Ask = (check: AuthorizationCheck) => { readonly allowed: boolean; readonly reason: string }

/** The variable `authorizer` of admission expressions. */
export class AuthorizerValue extends Opaque {
  readonly typeName = 'kubernetes.authorization.Authorizer'
  readonly decide: Decide
  readonly ask: Ask

  constructor(decide: Decide, ask: Ask = (check) => decide(check)) {
    super()
    this.decide = decide
    this.ask = ask
  }

  equals(other: Opaque): boolean {
    return other === this
  }
}

class PathCheck extends Opaque {
  readonly typeName = 'kubernetes.authorization.PathCheck'
  readonly ask: Ask
  readonly path: string

  constructor(ask: Ask, path: string) {
    super()
    this.ask = ask
    this.path = path
  }

  equals(other: Opaque): boolean {
    return other instanceof PathCheck && other.path === this.path
  }
}

class GroupCheck extends Opaque {
  readonly typeName = 'kubernetes.authorization.GroupCheck'
  readonly ask: Ask
  readonly group: string

  constructor(ask: Ask, group: string) {
    super()
    this.ask = ask
    this.group = group
  }

  equals(other: Opaque): boolean {
    return other instanceof GroupCheck && other.group === this.group
  }
}

type Place = Omit<AuthorizationCheck, 'verb' | 'path'>

/** A resource somebody may be allowed to do something with; `authorizer.requestResource` is one. */
export class ResourceCheck extends Opaque {
  readonly typeName = 'kubernetes.authorization.ResourceCheck'
  readonly ask: Ask
  readonly place: Place

  constructor(ask: Ask, place: Place) {
    super()
    this.ask = ask
    this.place = place
  }

  with(change: Partial<Place>): ResourceCheck {
    return new ResourceCheck(this.ask, { ...this.place, ...change })
  }

  equals(other: Opaque): boolean {
    return other instanceof ResourceCheck && JSON.stringify(other.place) === JSON.stringify(this.place)
  }
}

class DecisionValue extends Opaque {
  readonly typeName = 'kubernetes.authorization.Decision'
  readonly allowed: boolean
  readonly reason: string

  constructor({ allowed, reason }: { allowed: boolean; reason: string }) {
    super()
    this.allowed = allowed
    this.reason = reason
  }

  equals(other: Opaque): boolean {
    return other instanceof DecisionValue && other.allowed === this.allowed && other.reason === this.reason
  }
}

const nowhere = { group: '', resource: '', subresource: '', namespace: '', name: '' }

/** A function with a receiver of one type and texts for arguments. */
function on<T extends Opaque>(
  kind: abstract new (...args: never[]) => T,
  use: (value: T, texts: readonly string[]) => Value,
): Implementation {
  return ([value, ...rest]) => {
    if (!(value instanceof kind)) throw noOverload()
    return use(value, rest.map(String))
  }
}

/** Functions that ask who may do what (KEP-3488). */
export const authorizationFunctions: ReadonlyMap<string, Implementation> = new Map<string, Implementation>([
  ['path', on(AuthorizerValue, ({ ask }, [path = '']) => new PathCheck(ask, path))],
  ['group', on(AuthorizerValue, ({ ask }, [group = '']) => new GroupCheck(ask, group))],
  [
    'serviceAccount',
    on(
      AuthorizerValue,
      ({ decide }, [namespace = '', name = '']) =>
        new AuthorizerValue(decide, (check) => decide(check, { namespace, name })),
    ),
  ],
  [
    'resource',
    on(GroupCheck, ({ ask, group }, [resource = '']) => new ResourceCheck(ask, { ...nowhere, group, resource })),
  ],
  ['subresource', on(ResourceCheck, (check, [subresource = '']) => check.with({ subresource }))],
  ['namespace', on(ResourceCheck, (check, [namespace = '']) => check.with({ namespace }))],
  ['name', on(ResourceCheck, (check, [name = '']) => check.with({ name }))],
  // No authorizer here looks at selectors: who may list may list a part.
  ['fieldSelector', on(ResourceCheck, (check) => check)],
  ['labelSelector', on(ResourceCheck, (check) => check)],
  [
    'check',
    ([value, asked]) => {
      const verb = typeof asked === 'string' ? asked : ''
      if (value instanceof PathCheck) return new DecisionValue(value.ask({ ...nowhere, verb, path: value.path }))
      if (value instanceof ResourceCheck) return new DecisionValue(value.ask({ ...value.place, verb }))
      throw noOverload()
    },
  ],
  ['allowed', on(DecisionValue, ({ allowed }) => allowed)],
  ['reason', on(DecisionValue, ({ reason }) => reason)],
  ['errored', on(DecisionValue, () => false)],
  ['error', on(DecisionValue, () => '')],
])
