import { settingInvalid } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'
import { otlpCertificateUnreadable } from './errors.ts'
import { readFileSync } from 'node:fs'

export type OtlpProtocol = 'grpc' | 'http/protobuf' | 'http/json'
export type OtlpSignal = 'traces' | 'metrics'

/** Where one signal goes. */
export interface OtlpTarget {
  readonly protocol: OtlpProtocol
  /** With the path of the signal for http, the origin for grpc. */
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Of one attempt. Default 10000. */
  readonly timeoutMs: number
  readonly compression: 'gzip' | 'none'
  /** PEM of the collector's authority, and of our own certificate and key where it asks for one. */
  readonly tls: {
    readonly ca?: Buffer | undefined
    readonly cert?: Buffer | undefined
    readonly key?: Buffer | undefined
  }
}

const protocols: readonly OtlpProtocol[] = ['grpc', 'http/protobuf', 'http/json']

/**
 * The target of a signal by OTEL_EXPORTER_OTLP_{ENDPOINT,PROTOCOL,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE,CLIENT_CERTIFICATE,
 * CLIENT_KEY}, each also with the signal's name in it (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), which wins. The default protocol is
 * `http/protobuf`. Undefined when no endpoint is set, when OTEL_{TRACES,METRICS}_EXPORTER is `none`, or OTEL_SDK_DISABLED is
 * `true`: a service that has no collector does not look for one.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`, `FAIRLEAD_SERVICE_OTLP_CERTIFICATE`
 */
export function readOtlpTarget(env: Environment, signal: OtlpSignal): OtlpTarget | undefined {
  if (!isWanted(env, signal)) return undefined
  const read = createReader(env, signal)
  const endpoint = read('ENDPOINT')
  const exporter = given(env, `OTEL_${signal.toUpperCase()}_EXPORTER`)
  if (endpoint === undefined && exporter === undefined) return undefined
  const protocol = readProtocol(read('PROTOCOL'))
  return {
    protocol,
    url: endpointUrl(endpoint, protocol, signal),
    headers: readHeaders(read('HEADERS')),
    timeoutMs: readTimeout(read('TIMEOUT')),
    compression: readCompression(read('COMPRESSION')),
    tls: {
      ca: readPem(read('CERTIFICATE')),
      cert: readPem(read('CLIENT_CERTIFICATE')),
      key: readPem(read('CLIENT_KEY')),
    },
  }
}

interface Setting {
  readonly name: string
  readonly value: string
}
type Reader = (name: string) => Setting | undefined

function createReader(env: Environment, signal: OtlpSignal): Reader {
  const find = (name: string): Setting | undefined => {
    const value = given(env, name)
    return value === undefined ? undefined : { name, value }
  }
  return (name) => find(`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_${name}`) ?? find(`OTEL_EXPORTER_OTLP_${name}`)
}

function isWanted(env: Environment, signal: OtlpSignal): boolean {
  if (given(env, 'OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return false
  const name = `OTEL_${signal.toUpperCase()}_EXPORTER`
  const exporters = (given(env, name) ?? 'otlp').split(',').map((exporter) => exporter.trim())
  const unknown = exporters.find((exporter) => !['otlp', 'none', 'prometheus', 'console'].includes(exporter))
  if (unknown !== undefined) throw settingInvalid(name, unknown, 'otlp or none')
  return exporters.includes('otlp')
}

function readProtocol(setting: Setting | undefined): OtlpProtocol {
  const found = protocols.find((protocol) => protocol === (setting?.value ?? 'http/protobuf'))
  if (found === undefined) throw invalid(setting, `one of ${protocols.join(', ')}`)
  return found
}

/** The general endpoint is a base, the one of a signal is taken as it is (OTLP exporter specification, "Endpoint URLs"). */
function endpointUrl(setting: Setting | undefined, protocol: OtlpProtocol, signal: OtlpSignal): URL {
  const text = setting?.value ?? (protocol === 'grpc' ? 'http://localhost:4317' : 'http://localhost:4318')
  // gRPC users write host:port, which is no URL.
  const url = URL.parse(protocol === 'grpc' && !/^[a-z]+:\/\//.test(text) ? `http://${text}` : text)
  if (url === null || !/^https?:$/.test(url.protocol)) throw invalid(setting, 'an http or https URL')
  if (protocol === 'grpc') return url
  const isOfSignal = setting?.name.includes(`_${signal.toUpperCase()}_`) ?? false
  if (!isOfSignal) url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/${signal}`
  return url
}

/** `name=value` pairs with commas between them; values may be percent-encoded. */
function readHeaders(setting: Setting | undefined): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const pair of setting?.value.split(',') ?? []) {
    if (pair.trim() === '') continue
    const equals = pair.indexOf('=')
    const name = pair.slice(0, Math.max(0, equals)).trim().toLowerCase()
    const value = decode(pair.slice(equals + 1).trim())
    // The value is a secret more often than not.
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name) || value === undefined || /[^\t\x20-\x7e\x80-\xff]/.test(value))
      throw settingInvalid(setting?.name ?? '', '[redacted]', 'a list like name=value,other=value')
    headers[name] = value
  }
  return headers
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function readTimeout(setting: Setting | undefined): number {
  if (setting === undefined) return 10_000
  const ms = Number(setting.value)
  if (!/^\d+$/.test(setting.value) || ms < 1 || ms > 3_600_000) throw invalid(setting, 'milliseconds from 1 to 3600000')
  return ms
}

function readCompression(setting: Setting | undefined): 'gzip' | 'none' {
  const value = setting?.value ?? 'none'
  if (value !== 'gzip' && value !== 'none') throw invalid(setting, 'gzip or none')
  return value
}

function readPem(setting: Setting | undefined): Buffer | undefined {
  if (setting === undefined) return undefined
  try {
    return readFileSync(setting.value)
  } catch (error) {
    throw otlpCertificateUnreadable(setting.name, setting.value, error)
  }
}

function invalid(setting: Setting | undefined, expected: string): Error {
  return settingInvalid(setting?.name ?? 'OTEL_EXPORTER_OTLP_ENDPOINT', setting?.value ?? '', expected)
}

/** A variable set to nothing counts as not set. */
function given(env: Environment, name: string): string | undefined {
  const text = env[name]?.trim()
  return text === '' ? undefined : text
}
