import { settingInvalid } from '../errors.ts'
import { meshHeaderInvalid } from './errors.ts'

/** How a service lives in a service mesh. */
export interface MeshSettings {
  /**
   * Headers of the business to pass on from the incoming request to outgoing calls, such as `end-user` or `x-canary`, beside
   * those of tracing systems. At most 32. Default none.
   */
  readonly headers?: readonly string[] | undefined
  /**
   * Whether the mesh retries outgoing calls, in which case clients of the kit do not. Default `detect`: it does when the
   * incoming request carries `x-envoy-attempt-count`, which only a mesh's proxy sets.
   */
  readonly retries?: boolean | 'detect' | undefined
}

// Credentials are given to one service and not to those behind it; the others describe one connection or one message
// (RFC 9110, section 7.6.1), and a proxy makes its own.
const forbidden = new Set([
  'authorization',
  'connection',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/**
 * The settings with header names in lower case.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_MESH_HEADER` for a name that must not be passed on.
 */
export function parseMeshSettings(settings: MeshSettings): MeshSettings {
  const headers = [...new Set((settings.headers ?? []).map((name) => name.toLowerCase()))]
  for (const name of headers) {
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/.test(name)) throw meshHeaderInvalid(name, 'it is not the name of a header')
    if (forbidden.has(name)) throw meshHeaderInvalid(name, 'it carries credentials or belongs to one connection')
    if (name.startsWith('content-') || name.startsWith('x-envoy-'))
      throw meshHeaderInvalid(name, 'it describes one message and is made anew for the next')
  }
  if (headers.length > 32) throw meshHeaderInvalid(headers[32] ?? '', 'there are more than 32 such headers')
  return { headers, retries: settings.retries ?? 'detect' }
}

/**
 * Mesh settings of the environment: MESH_HEADERS (names separated by commas) and MESH_RETRIES (`true`, `false` or `detect`).
 * What `given` says wins.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`, `FAIRLEAD_SERVICE_MESH_HEADER`
 */
export function readMeshSettings(
  env: Readonly<Record<string, string | undefined>>,
  given: MeshSettings = {},
): MeshSettings {
  const names = env['MESH_HEADERS']?.split(',').map((name) => name.trim())
  return parseMeshSettings({
    headers: given.headers ?? names?.filter((name) => name !== ''),
    retries: given.retries ?? readRetries(env['MESH_RETRIES']?.trim().toLowerCase() ?? ''),
  })
}

function readRetries(text: string): boolean | 'detect' {
  if (text === '' || text === 'detect') return 'detect'
  if (text === 'true' || text === 'false') return text === 'true'
  throw settingInvalid('MESH_RETRIES', text, 'true, false or detect')
}
