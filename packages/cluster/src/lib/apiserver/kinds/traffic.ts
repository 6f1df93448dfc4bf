import type { Ingress, IngressClass, NetworkPolicy } from '@fairlead/kube/types/networking-v1'

import { defineKind } from './define.ts'
import { invalid, notSupported, required } from './field-errors.ts'
import { validateSelector } from './selectors.ts'
import { age, ageColumn, column, firstThree, formatSelector, nameColumn, orNone } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix']

export const ingress: KindStrategy = defineKind<Ingress>({
  create(object) {
    object.status = { loadBalancer: {} }
  },
  validate({ spec }) {
    const rules = spec?.rules ?? []
    if (rules.length === 0 && spec?.defaultBackend === undefined) {
      return [invalid('spec', [], 'either `defaultBackend` or `rules` must be specified')]
    }
    return rules.flatMap(({ http }, index) =>
      (http?.paths ?? []).flatMap((each, at) => validatePath(each, `spec.rules[${index}].http.paths[${at}]`)),
    )
  },
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

type Path = NonNullable<NonNullable<NonNullable<Ingress['spec']>['rules']>[number]['http']>['paths'][number]

function validatePath({ path = '', pathType, backend }: Path, place: string): FieldError[] {
  const errors: FieldError[] = []
  if (pathType === '') errors.push(required(`${place}.pathType`, 'pathType must be specified'))
  else if (!pathTypes.includes(pathType)) errors.push(notSupported(`${place}.pathType`, pathType, pathTypes))
  if (pathType !== 'ImplementationSpecific' && !path.startsWith('/')) {
    errors.push(invalid(`${place}.path`, path, 'must be an absolute path'))
  }
  if (backend.service === undefined && backend.resource === undefined) {
    errors.push(required(`${place}.backend`, 'resource or service backend is required'))
  }
  if (backend.service?.name === '') errors.push(required(`${place}.backend.service.name`))
  return errors
}

export const ingressClass: KindStrategy = defineKind<IngressClass>({
  columns: [nameColumn, column('Controller'), column('Parameters'), ageColumn],
  row({ metadata, spec }, now) {
    const parameters = spec?.parameters
    const text =
      parameters === undefined ? '<none>' : `${parameters.kind}.${parameters.apiGroup ?? ''}/${parameters.name}`
    return [metadata.name, spec?.controller ?? '', text, age(metadata.creationTimestamp, now)]
  },
})

export const networkPolicy: KindStrategy = defineKind<NetworkPolicy>({
  default({ spec }) {
    if (spec === undefined) return
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
      for (const port of rule.ports ?? []) port.protocol ??= 'TCP'
    }
    spec.policyTypes ??= (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress']
  },
  validate: ({ spec }) =>
    spec?.podSelector === undefined ? [] : validateSelector(spec.podSelector, 'spec.podSelector'),
  columns: [nameColumn, column('Pod-Selector'), ageColumn],
  row: ({ metadata, spec }, now) => [
    metadata.name,
    formatSelector(spec?.podSelector),
    age(metadata.creationTimestamp, now),
  ],
})
