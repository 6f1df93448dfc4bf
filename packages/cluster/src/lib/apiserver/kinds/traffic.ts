import type { Ingress, IngressClass, NetworkPolicy } from '@fairlead/kube/types/networking-v1'

import { defineKind } from './define.ts'
import { forbidden, immutable, notSupported, required, tooLong } from './field-errors.ts'
import { dnsLabel, dnsSubdomain, domainPath, pathSegment } from './names.ts'
import { validateIngress } from './ingress-rules.ts'
import { validateNetworkPolicy } from './network-policy-rules.ts'
import { age, ageColumn, column, firstThree, formatSelector, nameColumn, orNone } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

export const ingress: KindStrategy = defineKind<Ingress>({
  create(object) {
    object.status = { loadBalancer: {} }
  },
  validate: ({ spec }) => validateIngress(spec ?? {}),
  columns: [nameColumn, column('Class'), column('Hosts'), column('Address'), column('Ports'), ageColumn],
  row({ metadata, spec, status }, now) {
    const hosts = (spec?.rules ?? []).flatMap(({ host = '' }) => (host === '' ? [] : [host]))
    const addresses = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '')
    return [
      metadata.name,
      orNone(spec?.ingressClassName),
      firstThree(hosts, '*'),
      addresses.join(','),
      (spec?.tls ?? []).length > 0 ? '80, 443' : '80',
      age(metadata.creationTimestamp, now),
    ]
  },
})

const longestController = 250

export const ingressClass: KindStrategy = defineKind<IngressClass>({
  default({ spec }) {
    if (spec?.parameters !== undefined) spec.parameters.scope ??= 'Cluster'
  },
  validate({ spec }, old) {
    const controller = spec?.controller ?? ''
    const before = old?.spec?.controller ?? controller
    const field = 'spec.controller'
    return [
      ...immutable(field, controller, controller === before),
      ...(controller.length > longestController ? [tooLong(field, longestController)] : []),
      ...domainPath(field, controller),
      ...(spec?.parameters === undefined ? [] : validateParameters(spec.parameters)),
    ]
  },
  columns: [nameColumn, column('Controller'), column('Parameters'), ageColumn],
  row({ metadata, spec }, now) {
    const parameters = spec?.parameters
    const text =
      parameters === undefined ? '<none>' : `${parameters.kind}.${parameters.apiGroup ?? ''}/${parameters.name}`
    return [metadata.name, spec?.controller ?? '', text, age(metadata.creationTimestamp, now)]
  },
})

type Parameters = NonNullable<NonNullable<IngressClass['spec']>['parameters']>

function validateParameters({ apiGroup, kind, name, scope = '', namespace }: Parameters): FieldError[] {
  const path = 'spec.parameters'
  const errors = [
    ...(apiGroup === undefined ? [] : dnsSubdomain(`${path}.apiGroup`, apiGroup)),
    ...(kind === '' ? [required(`${path}.kind`)] : pathSegment(`${path}.kind`, kind)),
    ...(name === '' ? [required(`${path}.name`)] : pathSegment(`${path}.name`, name)),
  ]
  const field = `${path}.namespace`
  if (scope === 'Namespace') {
    if (namespace !== undefined) return [...errors, ...dnsLabel(field, namespace)]
    return [...errors, required(field, "`parameters.scope` is set to 'Namespace'")]
  }
  if (scope !== 'Cluster') return [...errors, notSupported(`${path}.scope`, scope, ['Cluster', 'Namespace'])]
  return namespace === undefined ? errors : [...errors, forbidden(field, "`parameters.scope` is set to 'Cluster'")]
}

export const networkPolicy: KindStrategy = defineKind<NetworkPolicy>({
  default({ spec }) {
    if (spec === undefined) return
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
      for (const port of rule.ports ?? []) port.protocol ??= 'TCP'
    }
    spec.policyTypes ??= (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress']
  },
  validate: ({ spec }) => (spec === undefined ? [] : validateNetworkPolicy(spec)),
  columns: [nameColumn, column('Pod-Selector'), ageColumn],
  row: ({ metadata, spec }, now) => [
    metadata.name,
    formatSelector(spec?.podSelector),
    age(metadata.creationTimestamp, now),
  ],
})
