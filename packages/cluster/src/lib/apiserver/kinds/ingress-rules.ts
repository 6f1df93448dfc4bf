import { isIP } from 'node:net'

import type { HTTPIngressPath, IngressBackend, IngressRule, IngressSpec } from '@fairlead/kube/types/networking-v1'

import type { FieldError } from '../status.ts'
import { invalid, notSupported, required } from './field-errors.ts'
import { dnsLabel, dnsSubdomain, ianaServiceName, pathSegment, portNumber, wildcardSubdomain } from './names.ts'

/** What is wrong with an Ingress. */
export function validateIngress(spec: IngressSpec): FieldError[] {
  const { rules = [], defaultBackend, tls = [], ingressClassName } = spec
  if (rules.length === 0 && defaultBackend === undefined) {
    return [invalid('spec', null, 'either `defaultBackend` or `rules` must be specified')]
  }
  return [
    ...(defaultBackend === undefined ? [] : validateBackend(defaultBackend, 'spec.defaultBackend')),
    ...rules.flatMap((rule, index) => validateRule(rule, `spec.rules[${index}]`)),
    ...tls.flatMap(({ hosts = [], secretName = '' }, index) => [
      ...hosts.flatMap((host, at) => validateHost(host, `spec.tls[${index}].hosts[${at}]`)),
      ...(secretName === '' ? [] : dnsSubdomain(`spec.tls[${index}].secretName`, secretName)),
    ]),
    ...(ingressClassName === undefined ? [] : dnsSubdomain('spec.ingressClassName', ingressClassName)),
  ]
}

function validateHost(host: string, field: string): FieldError[] {
  return host.includes('*') ? wildcardSubdomain(field, host) : dnsSubdomain(field, host)
}

function validateRule({ host = '', http }: IngressRule, path: string): FieldError[] {
  const errors: FieldError[] = []
  if (isIP(host) !== 0) errors.push(invalid(`${path}.host`, host, 'must be a DNS name, not an IP address'))
  if (host !== '') errors.push(...validateHost(host, `${path}.host`))
  if (http === undefined) return errors
  if (http.paths.length === 0) return [...errors, required(`${path}.http.paths`)]
  return [...errors, ...http.paths.flatMap((each, at) => validatePath(each, `${path}.http.paths[${at}]`))]
}

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix']
const forbiddenParts = ['//', '/./', '/../', '%2f', '%2F']
const forbiddenEnds = ['/..', '/.']

function validatePath({ path = '', pathType, backend }: HTTPIngressPath, place: string): FieldError[] {
  if (pathType === '') return [required(`${place}.pathType`, 'pathType must be specified')]
  const field = `${place}.path`
  const errors: FieldError[] = []
  if (!pathTypes.includes(pathType)) errors.push(notSupported(`${place}.pathType`, pathType, pathTypes))
  else if (!path.startsWith('/') && (path !== '' || pathType !== 'ImplementationSpecific')) {
    errors.push(invalid(field, path, 'must be an absolute path'))
  }
  if (pathType === 'Exact' || pathType === 'Prefix') {
    for (const part of forbiddenParts) {
      if (path.includes(part)) errors.push(invalid(field, path, `must not contain '${part}'`))
    }
    for (const end of forbiddenEnds) {
      if (path.endsWith(end)) errors.push(invalid(field, path, `cannot end with '${end}'`))
    }
  }
  return [...errors, ...validateBackend(backend, `${place}.backend`)]
}

function validateBackend({ service, resource }: IngressBackend, path: string): FieldError[] {
  if (service !== undefined && resource !== undefined) {
    return [invalid(path, '', 'cannot set both resource and service backends')]
  }
  if (resource !== undefined) return validateReference(resource, `${path}.resource`)
  if (service === undefined) return [invalid(path, '', 'resource or service backend is required')]
  const { name, port: { name: portName = '', number = 0 } = {} } = service
  const field = `${path}.service`
  const errors = name === '' ? [required(`${field}.name`)] : dnsLabel(`${field}.name`, name)
  if (portName !== '' && number !== 0) {
    return [...errors, invalid(path, '', 'cannot set both port name & port number')]
  }
  if (portName !== '') return [...errors, ...ianaServiceName(`${field}.port.name`, portName)]
  if (number !== 0) return [...errors, ...portNumber(`${field}.port.number`, number)]
  return [...errors, required(path, 'port name or number is required')]
}

function validateReference({ apiGroup, kind, name }: NonNullable<IngressBackend['resource']>, path: string) {
  return [
    ...(apiGroup === undefined ? [] : dnsSubdomain(`${path}.apiGroup`, apiGroup)),
    ...(kind === '' ? [required(`${path}.kind`)] : pathSegment(`${path}.kind`, kind)),
    ...(name === '' ? [required(`${path}.name`)] : pathSegment(`${path}.name`, name)),
  ]
}
