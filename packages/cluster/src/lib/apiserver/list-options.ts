import type { FieldError } from './status.ts'
import { badRequest, invalid } from './status.ts'
import { isTrue } from './route.ts'

/** What a list or watch asks for besides selectors; combinations that mean nothing are refused. */
export interface ListOptions {
  /** Undefined when not given; 0 means that any state will do. */
  readonly revision: number | undefined
  readonly match: '' | 'Exact' | 'NotOlderThan'
  /** Infinity without one. */
  readonly limit: number
  /** Empty without one. */
  readonly continueToken: string
  readonly hasBookmarks: boolean
  /** Watches only: the state of now first. */
  readonly sendsState: boolean
  /** 0 without a wish. */
  readonly timeoutMs: number
}

const optionsKind = { group: 'meta.k8s.io', kind: 'ListOptions' }

/** Reads the parameters of a list; throws 400 for what cannot be read and 422 for what cannot be together. */
export function parseListOptions(query: URLSearchParams): ListOptions {
  refuse(checkList(query))
  return parse(query, false)
}

/** Reads the parameters of a watch, under the same rules. */
export function parseWatchOptions(query: URLSearchParams): ListOptions {
  const revision = query.get('resourceVersion') ?? ''
  refuse(checkWatch(query))
  const asked = query.get('sendInitialEvents') ?? ''
  // Without a wish, a watch from nowhere in particular begins with the state, and its end is marked like any other.
  return parse(query, asked === '' ? revision === '' || revision === '0' : isTrue(asked))
}

/** A `resourceVersion` parameter as a number; undefined when it is empty. */
export function parseRevision(text: string | null): number | undefined {
  if (text === null || text === '') return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  const parsing = `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`
  throw badRequest(`invalid resource version: resourceVersion: Invalid value: ${JSON.stringify(text)}: ${parsing}`)
}

function parse(query: URLSearchParams, sendsState: boolean): ListOptions {
  const match = query.get('resourceVersionMatch') ?? ''
  const limit = parseInteger(query.get('limit'))
  return {
    revision: parseRevision(query.get('resourceVersion')),
    match: match === 'Exact' || match === 'NotOlderThan' ? match : '',
    limit: limit > 0 ? limit : Infinity,
    continueToken: query.get('continue') ?? '',
    hasBookmarks: isTrue(query.get('allowWatchBookmarks')),
    sendsState,
    timeoutMs: Math.max(parseInteger(query.get('timeoutSeconds')), 0) * 1000,
  }
}

function parseInteger(text: string | null): number {
  if (text === null || text === '') return 0
  if (/^[+-]?\d{1,15}$/.test(text)) return Number(text)
  throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`)
}

function checkList(query: URLSearchParams): FieldError[] {
  const match = query.get('resourceVersionMatch') ?? ''
  const revision = query.get('resourceVersion') ?? ''
  const errors: FieldError[] = []
  if (match !== '') {
    if (revision === '') errors.push(forbidden('resourceVersionMatch is forbidden unless resourceVersion is provided'))
    if (isGiven(query, 'continue')) errors.push(forbidden(withContinue))
    if (match !== 'Exact' && match !== 'NotOlderThan') errors.push(unsupported(match, '"Exact", "NotOlderThan", ""'))
    if (match === 'Exact' && revision === '0') {
      errors.push(forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    }
  }
  if (isGiven(query, 'sendInitialEvents')) {
    errors.push(forbidden('sendInitialEvents is forbidden for list', 'sendInitialEvents'))
  }
  return errors
}

function checkWatch(query: URLSearchParams): FieldError[] {
  const match = query.get('resourceVersionMatch') ?? ''
  const asksState = isGiven(query, 'sendInitialEvents')
  const errors: FieldError[] = []
  if (asksState && match !== 'NotOlderThan') {
    errors.push(forbidden('sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'))
  }
  if (match === '') return errors
  if (!asksState) {
    errors.push(forbidden('resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'))
  }
  if (match !== 'NotOlderThan') errors.push(unsupported(match, '"NotOlderThan"'))
  if (isGiven(query, 'continue')) errors.push(forbidden(withContinue))
  return errors
}

const withContinue = 'resourceVersionMatch is forbidden when continue is provided'

function isGiven(query: URLSearchParams, name: string): boolean {
  return (query.get(name) ?? '') !== ''
}

function forbidden(detail: string, field = 'resourceVersionMatch'): FieldError {
  return { field, reason: 'FieldValueForbidden', message: `Forbidden: ${detail}` }
}

function unsupported(match: string, supported: string): FieldError {
  const message = `Unsupported value: ${JSON.stringify(match)}: supported values: ${supported}`
  return { field: 'resourceVersionMatch', reason: 'FieldValueNotSupported', message }
}

function refuse(errors: readonly FieldError[]): void {
  if (errors.length > 0) throw invalid(optionsKind, '', errors)
}
