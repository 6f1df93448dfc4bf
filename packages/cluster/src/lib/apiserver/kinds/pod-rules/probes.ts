import type { Container, HTTPGetAction, LifecycleHandler, Probe } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { forbidden, invalid, nonNegative, oneOf, required } from '../field-errors.ts'
import { portNumber, portReference } from '../names.ts'

const probes = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const
const onlySidecars = 'may not be set for init containers without restartPolicy=Always'

/** Probes and hooks of a container; those that run before the others and end have none. */
export function validateLife(
  container: Container,
  kind: 'init' | 'other',
  graceSeconds: number,
  path: string,
  errors: FieldError[],
): void {
  const { lifecycle } = container
  const isBefore = kind === 'init' && container.restartPolicy !== 'Always'
  for (const key of probes) {
    const probe = container[key]
    if (probe === undefined) continue
    if (isBefore) errors.push(forbidden(`${path}.${key}`, onlySidecars))
    else validateProbe(probe, key, `${path}.${key}`, errors)
  }
  if (lifecycle === undefined) return
  if (isBefore) {
    errors.push(forbidden(`${path}.lifecycle`, onlySidecars))
    return
  }
  for (const key of ['postStart', 'preStop'] as const) {
    const handler = lifecycle[key]
    if (handler !== undefined) validateHandler(handler, `${path}.lifecycle.${key}`, errors, graceSeconds)
  }
}

const counts = [
  'initialDelaySeconds',
  'timeoutSeconds',
  'periodSeconds',
  'successThreshold',
  'failureThreshold',
] as const

function validateProbe(probe: Probe, key: (typeof probes)[number], path: string, errors: FieldError[]): void {
  validateHandler(probe, path, errors)
  for (const count of counts) {
    const value = probe[count]
    if (value !== undefined && value < 0) errors.push(...nonNegative(`${path}.${count}`, value))
  }
  const { successThreshold = 1, terminationGracePeriodSeconds: grace } = probe
  if (key !== 'readinessProbe' && successThreshold !== 1) {
    errors.push(invalid(`${path}.successThreshold`, successThreshold, 'must be 1'))
  }
  if (grace === undefined) return
  const field = `${path}.terminationGracePeriodSeconds`
  if (key === 'readinessProbe') errors.push(invalid(field, grace, 'must not be set for readinessProbes'))
  else if (grace <= 0) errors.push(invalid(field, grace, 'must be greater than 0'))
}

const actions = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const

function validateHandler(
  handler: LifecycleHandler & Probe,
  path: string,
  errors: FieldError[],
  graceSeconds?: number,
): void {
  const [first, ...more] = actions.filter((action) => handler[action] !== undefined)
  for (const action of more) errors.push(forbidden(`${path}.${action}`, 'may not specify more than 1 handler type'))
  const place = `${path}.${first}`
  switch (first) {
    case undefined:
      errors.push(required(path, 'must specify a handler type'))
      return
    case 'exec':
      if ((handler.exec?.command ?? []).length === 0) errors.push(required(`${place}.command`))
      return
    case 'httpGet':
      validateHttp(handler.httpGet, place, errors)
      return
    case 'tcpSocket':
      errors.push(...portReference(`${place}.port`, handler.tcpSocket?.port ?? 0))
      return
    case 'grpc':
      errors.push(...portNumber(`${place}.port`, handler.grpc?.port ?? 0))
      return
    case 'sleep':
      validateSleep(handler.sleep?.seconds ?? 0, graceSeconds ?? 0, place, errors)
  }
}

function validateSleep(seconds: number, graceSeconds: number, field: string, errors: FieldError[]): void {
  if (seconds >= 0 && seconds <= graceSeconds) return
  const why = `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`
  errors.push(invalid(field, seconds, why))
}

const headerName = /^[-A-Za-z0-9]+$/

function validateHttp(http: HTTPGetAction | undefined, path: string, errors: FieldError[]): void {
  if ((http?.path ?? '') === '') errors.push(required(`${path}.path`))
  errors.push(...portReference(`${path}.port`, http?.port ?? 0))
  errors.push(...oneOf(`${path}.scheme`, http?.scheme, ['HTTP', 'HTTPS']))
  for (const { name } of http?.httpHeaders ?? []) {
    if (headerName.test(name)) continue
    const why =
      "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
    errors.push(invalid(`${path}.httpHeaders`, name, why))
  }
}
