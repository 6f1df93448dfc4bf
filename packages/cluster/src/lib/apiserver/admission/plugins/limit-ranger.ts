import type { KubeObject } from '@fairlead/kube/types'
import type {
  Container,
  LimitRange,
  LimitRangeItem,
  PersistentVolumeClaim,
  Pod,
  ResourceRequirements,
} from '@fairlead/kube/types/core-v1'

import type { Store } from '../../../storage/store.ts'
import { knownResource } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'
import { amountOf, podAmounts, renderAmount } from './amounts.ts'

type Quantities = Readonly<Record<string, string | number>>

/** LimitRanger admission: defaults for containers that say nothing, and bounds for what they say. */
export class LimitRanger {
  readonly #ranges: KeptObjects<KubeObject & LimitRange>

  constructor(store: Store) {
    this.#ranges = new KeptObjects(store, knownResource('', 'v1', 'limitranges'))
  }

  completePod(pod: KubeObject & Pod): void {
    const { spec, metadata } = pod
    const ranges = this.#ranges.list(metadata.namespace)
    if (spec === undefined || ranges.length === 0) return
    for (const range of ranges) {
      const defaults = defaultsOf(range)
      const set = [
        ...spec.containers.flatMap((container) => merge(container, defaults, 'container')),
        ...(spec.initContainers ?? []).flatMap((container) => merge(container, defaults, 'init container')),
      ]
      if (set.length === 0) continue
      const note = `LimitRanger plugin set: ${set.join('; ')}`
      metadata.annotations = { ...metadata.annotations, 'kubernetes.io/limit-ranger': note }
    }
  }

  /** Throws 403 with everything that is out of bounds. */
  validate(resource: Resource, object: KubeObject): void {
    const { namespace, name = '' } = object.metadata
    const errors = this.#ranges
      .list(namespace)
      .flatMap(({ spec }) =>
        (spec?.limits ?? []).flatMap((limit) =>
          resource.collection === 'pods' ? judgePod(limit, object as KubeObject & Pod) : judgeClaim(limit, object),
        ),
      )
    const unique = [...new Set(errors)]
    if (unique.length === 0) return
    throw forbiddenObject(resource.info, name, unique.length === 1 ? (unique[0] ?? '') : `[${unique.join(', ')}]`)
  }
}

function defaultsOf({ spec }: LimitRange): { requests: Quantities; limits: Quantities } {
  const items = (spec?.limits ?? []).filter(({ type }) => type === 'Container')
  return {
    requests: Object.assign({}, ...items.map((item) => item.defaultRequest ?? {})) as Quantities,
    limits: Object.assign({}, ...items.map((item) => item.default ?? {})) as Quantities,
  }
}

function merge(container: Container, defaults: { requests: Quantities; limits: Quantities }, what: string): string[] {
  container.resources ??= {}
  return (['requests', 'limits'] as const).flatMap((which) => {
    const set = fill(container.resources ?? {}, which, defaults[which])
    const word = which === 'requests' ? 'request' : 'limit'
    return set.length === 0 ? [] : [`${set.toSorted().join(', ')} ${word} for ${what} ${container.name}`]
  })
}

function fill(resources: ResourceRequirements, which: 'requests' | 'limits', defaults: Quantities): string[] {
  const missing = Object.keys(defaults).filter((name) => resources[which]?.[name] === undefined)
  if (missing.length > 0) {
    resources[which] = {
      ...resources[which],
      ...Object.fromEntries(missing.map((name) => [name, String(defaults[name])])),
    }
  }
  return missing
}

function judgePod(limit: LimitRangeItem, { spec }: Pod): string[] {
  if (spec === undefined) return []
  if (limit.type === 'Container') {
    return [...spec.containers, ...(spec.initContainers ?? [])].flatMap(({ resources }) =>
      judge(limit, { requests: resources?.requests ?? {}, limits: resources?.limits ?? {} }),
    )
  }
  if (limit.type !== 'Pod') return []
  return judge(limit, {
    requests: rendered(podAmounts(spec, 'requests')),
    limits: rendered(podAmounts(spec, 'limits')),
  })
}

function rendered(amounts: Readonly<Record<string, number>>): Quantities {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, renderAmount(name, amount)]))
}

interface Asked {
  readonly requests: Quantities
  readonly limits: Quantities
}

function judge({ type, min = {}, max = {}, maxLimitRequestRatio = {} }: LimitRangeItem, asked: Asked): string[] {
  return [
    ...Object.entries(min).flatMap(([name, bound]) => judgeMin(type, name, bound, asked)),
    ...Object.entries(max).flatMap(([name, bound]) => judgeMax(type, name, bound, asked)),
    ...Object.entries(maxLimitRequestRatio).flatMap(([name, bound]) => judgeRatio(type, name, bound, asked)),
  ]
}

function judgeMin(type: string, name: string, bound: string | number, { requests, limits }: Asked): string[] {
  const [request, limit] = [requests[name], limits[name]]
  const is = `minimum ${name} usage per ${type} is ${bound}`
  if (request === undefined) return [`${is}.  No request is specified`]
  if (amountOf(request) < amountOf(bound)) return [`${is}, but request is ${request}`]
  return limit !== undefined && amountOf(limit) < amountOf(bound) ? [`${is}, but limit is ${limit}`] : []
}

function judgeMax(type: string, name: string, bound: string | number, { requests, limits }: Asked): string[] {
  const [request, limit] = [requests[name], limits[name]]
  const is = `maximum ${name} usage per ${type} is ${bound}`
  if (limit === undefined) return [`${is}.  No limit is specified`]
  if (amountOf(limit) > amountOf(bound)) return [`${is}, but limit is ${limit}`]
  return request !== undefined && amountOf(request) > amountOf(bound) ? [`${is}, but request is ${request}`] : []
}

function judgeRatio(type: string, name: string, bound: string | number, { requests, limits }: Asked): string[] {
  const [request, limit] = [amountOf(requests[name]), amountOf(limits[name])]
  const is = `${name} max limit to request ratio per ${type} is ${bound}`
  if (request === 0) return [`${is}, but no request is specified or request is 0`]
  if (limit === 0) return [`${is}, but no limit is specified or limit is 0`]
  const ratio = limit / request
  return ratio > amountOf(bound) ? [`${is}, but provided ratio is ${ratio.toFixed(6)}`] : []
}

function judgeClaim({ type, min = {}, max = {} }: LimitRangeItem, object: KubeObject): string[] {
  if (type !== 'PersistentVolumeClaim') return []
  const requests = (object as KubeObject & PersistentVolumeClaim).spec?.resources?.requests ?? {}
  return [
    ...Object.entries(min).flatMap(([name, bound]) => judgeMin(type, name, bound, { requests, limits: {} })),
    ...Object.entries(max).flatMap(([name, bound]) => {
      const request = requests[name]
      const is = `maximum ${name} usage per ${type} is ${bound}`
      if (request === undefined) return [`${is}.  No request is specified`]
      return amountOf(request) > amountOf(bound) ? [`${is}, but request is ${request}`] : []
    }),
  ]
}
