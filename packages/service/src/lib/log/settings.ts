import { settingInvalid } from '../errors.ts'
import { logLevels, parseLogLevels, rootName } from './levels.ts'
import type { LogLevel } from './levels.ts'
import type { LoggerOptions } from './logger.ts'
import { isLogFormat, logFormats } from './presets.ts'
import type { SamplingOptions } from './sampling.ts'

/** What a logger takes from the environment. */
export interface LogSettings extends Pick<LoggerOptions, 'levels' | 'sampling' | 'project'> {
  readonly level: LogLevel
  readonly format: NonNullable<LoggerOptions['format']>
}

/**
 * Options of {@link createLogger} from LOG_LEVEL (`info` or `info,db=debug`), LOG_FORMAT, LOG_SAMPLING (`100/10`: the first
 * 100 lines of a message per second, then every tenth) and GOOGLE_CLOUD_PROJECT. A terminal gets `pretty`, everything else `json`.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`
 */
export function readLogSettings(
  env: Readonly<Record<string, string | undefined>>,
  isTerminal: boolean | undefined,
): LogSettings {
  const { [rootName]: level = 'info', ...levels } = readLevels(env['LOG_LEVEL']?.trim())
  return {
    level,
    levels,
    format: readFormat(env['LOG_FORMAT']?.trim().toLowerCase()) ?? (isTerminal ? 'pretty' : 'json'),
    sampling: readSampling(env['LOG_SAMPLING']?.trim()),
    project: env['GOOGLE_CLOUD_PROJECT'],
  }
}

function readLevels(text: string | undefined): Record<string, LogLevel> {
  if (!text) return {}
  const levels = parseLogLevels(text)
  if (levels === undefined)
    throw settingInvalid('LOG_LEVEL', text, `one of ${logLevels.join(', ')}, or a list such as info,db=debug`)
  return levels
}

function readFormat(text: string | undefined): LogSettings['format'] | undefined {
  if (!text) return undefined
  if (!isLogFormat(text)) throw settingInvalid('LOG_FORMAT', text, `one of ${logFormats.join(', ')}`)
  return text
}

function readSampling(text: string | undefined): SamplingOptions | undefined {
  if (!text) return undefined
  const [, first, thereafter] = /^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? []
  if (first === undefined || thereafter === undefined)
    throw settingInvalid('LOG_SAMPLING', text, 'two whole numbers like 100/10')
  return { first: Number(first), thereafter: Number(thereafter) }
}
