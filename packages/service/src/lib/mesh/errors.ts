import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function meshHeaderInvalid(name: string, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot pass on header ${quote(name)}: ${state}`),
    'FAIRLEAD_SERVICE_MESH_HEADER',
    'Name headers of your own, such as end-user or x-canary, in mesh.headers or MESH_HEADERS',
  )
}
