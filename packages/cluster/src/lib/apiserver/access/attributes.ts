/** What somebody asks to do: something to a resource, or a verb on a path that is no resource. */
export interface Attributes {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource: string
  /** Empty for all namespaces and for objects without one. */
  readonly namespace: string
  /** Empty for a collection. */
  readonly name: string
  /** Set for requests that are about no resource; everything but the verb is empty then. */
  readonly path?: string | undefined
  /** `spec.nodeName=x` of a list or watch, as nodes are allowed these for themselves only. */
  readonly fieldSelector?: string | undefined
}

/** Attributes of a request for a path that is no resource. */
export function pathAttributes(verb: string, path: string): Attributes {
  return { verb, group: '', resource: '', subresource: '', namespace: '', name: '', path }
}

/** The answer of an authorizer: `allowed` only when somebody said yes; `reason` may be empty. */
export interface Decision {
  readonly allowed: boolean
  readonly reason: string
}
