import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function targetInvalid(target: string, state: string): ServiceError {
  return coded(
    new SyntaxError(`Cannot parse service address ${quote(target)}: ${state}`),
    'FAIRLEAD_SERVICE_TARGET',
    'Write http://host, dns://host:port, srv://name, consul://service or k8s://namespace/service:port',
  )
}

/** Nowhere to send a request to; nothing was sent. */
export function noEndpoints(service: string, state: string, cause?: unknown): ServiceError {
  return coded(
    new Error(`Cannot pick an endpoint of ${quote(service)}: ${state}`, cause === undefined ? {} : { cause }),
    'FAIRLEAD_SERVICE_NO_ENDPOINTS',
    'Check that instances of the service run, are ready and are known where they are looked up',
  )
}

/** Where endpoints are looked up gave no usable answer. Those known before stay in use. */
export function discoveryFailed(source: string, state: string, hint: string, cause?: unknown): ServiceError {
  return coded(
    new Error(`Cannot look up endpoints of ${quote(source)}: ${state}`, cause === undefined ? {} : { cause }),
    'FAIRLEAD_SERVICE_DISCOVERY',
    hint,
  )
}

export function registrationFailed(service: string, state: string, hint: string, cause?: unknown): ServiceError {
  return coded(
    new Error(`Cannot register service ${quote(service)}: ${state}`, cause === undefined ? {} : { cause }),
    'FAIRLEAD_SERVICE_REGISTRATION',
    hint,
  )
}
