import { forbidden, invalid, unsupported } from './kinds/field-errors.ts'
import { badRequest, invalid as invalidObject } from './status.ts'
import type { FieldError } from './status.ts'

const streams = ['All', 'Stderr', 'Stdout']
const date = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/

/** Checks what a request for a log asks for (PodLogOptions); throws 400 for what cannot be read and 422 for what is wrong. */
export function checkLogOptions(query: URLSearchParams, podName: string): void {
  const tailLines = readInteger(query, 'tailLines')
  const limitBytes = readInteger(query, 'limitBytes')
  const sinceSeconds = readInteger(query, 'sinceSeconds')
  const sinceTime = query.get('sinceTime') ?? ''
  if (sinceTime !== '' && (!date.test(sinceTime) || Number.isNaN(Date.parse(sinceTime)))) {
    throw badRequest(`parsing time ${JSON.stringify(sinceTime)} as "2006-01-02T15:04:05Z07:00": cannot parse it`)
  }
  const stream = query.get('stream') ?? 'All'
  const errors: FieldError[] = []
  if (tailLines !== undefined && tailLines < 0) {
    errors.push(invalid('tailLines', tailLines, 'must be greater than or equal to 0'))
  }
  if (limitBytes !== undefined && limitBytes < 1) errors.push(invalid('limitBytes', limitBytes, mustBePositive))
  if (sinceSeconds !== undefined && sinceTime !== '') {
    errors.push(forbidden('', 'at most one of `sinceTime` or `sinceSeconds` may be specified'))
  } else if (sinceSeconds !== undefined && sinceSeconds < 1) {
    errors.push(invalid('sinceSeconds', sinceSeconds, mustBePositive))
  }
  if (!streams.includes(stream)) errors.push(unsupported('stream', stream, streams))
  else if (stream !== 'All' && tailLines !== undefined) {
    errors.push(forbidden('', '`tailLines` and specific `stream` are mutually exclusive for now'))
  }
  if (errors.length > 0) throw invalidObject({ group: '', kind: 'PodLogOptions' }, podName, errors)
}

const mustBePositive = 'must be greater than 0'

function readInteger(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  if (/^[+-]?\d{1,18}$/.test(text)) return Number(text)
  throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`)
}
