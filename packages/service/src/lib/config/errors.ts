import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'
import type { ConfigProblem } from './options.ts'

/** A configuration that cannot be used. `problems` has all of it, one entry per key. */
export interface ConfigError extends ServiceError {
  readonly code: 'FAIRLEAD_SERVICE_CONFIG'
  readonly problems: readonly ConfigProblem[]
}

export function configInvalid(action: 'load' | 'reload', problems: readonly ConfigProblem[]): ConfigError {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  const lines = problems.map(({ message, hint }) => `\n  ${message}${hint === undefined ? '' : `. ${hint}`}`)
  const error = coded(
    new Error(`Cannot ${action} configuration: ${count}${lines.join('')}`),
    'FAIRLEAD_SERVICE_CONFIG',
    'Correct what is named; fairlead config check shows it without starting the service',
  )
  return Object.assign(error, { code: 'FAIRLEAD_SERVICE_CONFIG' as const, problems })
}

export function configDefinitionInvalid(key: string, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot define configuration ${quote(key)}: ${state}`),
    'FAIRLEAD_SERVICE_CONFIG_DEFINITION',
    'Correct the argument of defineConfig',
  )
}
