import { settingInvalid } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'
import { readLogSettings } from '../log/settings.ts'
import type { LogSettings } from '../log/settings.ts'

/** What a service takes from its environment; {@link StartOptions} win over it. */
export interface Settings {
  /** HOST, default `0.0.0.0`. */
  readonly host: string
  /** PORT, default 8080. 0 takes a free one. */
  readonly port: number
  /** ADMIN_PORT, default none. */
  readonly adminPort: number | undefined
  /** LOG_LEVEL, LOG_FORMAT, LOG_SAMPLING: see docs/service/logs.md. */
  readonly log: LogSettings
  /** SERVICE_VERSION. */
  readonly version: string | undefined
  /** ENVIRONMENT, else NODE_ENV, else `development`. */
  readonly environment: string
  /** TELEMETRY_FLUSH_TIMEOUT_MS: how long a stop waits for a collector, beside the stop of the resources. Default 1000. */
  readonly flushTimeoutMs: number
  readonly drain: {
    /**
     * DRAIN_DELAY_MS: how long to go on accepting after the stop signal. Default 5000 in Kubernetes, where traffic
     * keeps coming until every node has heard that the pod is going (0 where a preStop sleep does the waiting), else 0.
     */
    readonly delayMs: number
    /** How long an idle connection is left to its peer: 1000 in Kubernetes, else 100. */
    readonly idleGraceMs: number
    /** Over how long WebSockets and event streams are ended: 2000 in Kubernetes, else 0. */
    readonly goodbyeSpreadMs: number
    /** STOP_TIMEOUT_MS: for the whole drain. Default 27000, which leaves 3 s of Kubernetes' 30 s to stop resources. */
    readonly timeoutMs: number
  }
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING` */
export function readSettings(env: Environment, isTerminal: boolean): Settings {
  const isKubernetes = env['KUBERNETES_SERVICE_HOST'] !== undefined
  return {
    host: given(env, 'HOST') ?? '0.0.0.0',
    port: readNumber(env, 'PORT', 65_535) ?? 8080,
    adminPort: readNumber(env, 'ADMIN_PORT', 65_535),
    log: readLogSettings(env, isTerminal),
    version: given(env, 'SERVICE_VERSION'),
    environment: given(env, 'ENVIRONMENT') ?? given(env, 'NODE_ENV') ?? 'development',
    flushTimeoutMs: readNumber(env, 'TELEMETRY_FLUSH_TIMEOUT_MS', 60_000) ?? 1000,
    drain: {
      delayMs: readNumber(env, 'DRAIN_DELAY_MS', 3_600_000) ?? (isKubernetes ? 5000 : 0),
      idleGraceMs: isKubernetes ? 1000 : 100,
      goodbyeSpreadMs: isKubernetes ? 2000 : 0,
      timeoutMs: readNumber(env, 'STOP_TIMEOUT_MS', 3_600_000) ?? 27_000,
    },
  }
}

function readNumber(env: Environment, name: string, max: number): number | undefined {
  const text = given(env, name)
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text) || Number(text) > max) throw settingInvalid(name, text, `a whole number from 0 to ${max}`)
  return Number(text)
}

/** A variable set to nothing counts as not set. */
function given(env: Environment, name: string): string | undefined {
  const text = env[name]?.trim()
  return text === '' ? undefined : text
}
