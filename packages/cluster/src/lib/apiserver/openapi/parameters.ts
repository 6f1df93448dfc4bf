import type { Dialect, Schema } from './dialect.ts'

/** A parameter, or a group of parameters that go together. */
export type Parameter =
  | 'namespace'
  | 'name'
  | 'dryRun'
  | 'fieldManager'
  | 'fieldValidation'
  | 'force'
  | 'list'
  | 'deletion'

const listParameters = [
  'allowWatchBookmarks',
  'continue',
  'fieldSelector',
  'labelSelector',
  'limit',
  'resourceVersion',
  'resourceVersionMatch',
  'sendInitialEvents',
  'timeoutSeconds',
  'watch',
]
const deletionParameters = ['dryRun', 'gracePeriodSeconds', 'orphanDependents', 'propagationPolicy']
const types: Readonly<Record<string, string>> = {
  allowWatchBookmarks: 'boolean',
  force: 'boolean',
  gracePeriodSeconds: 'integer',
  limit: 'integer',
  orphanDependents: 'boolean',
  sendInitialEvents: 'boolean',
  timeoutSeconds: 'integer',
  watch: 'boolean',
}

export function renderParameters(parameters: readonly Parameter[], dialect: Dialect): Schema[] {
  const names = parameters.flatMap((each): readonly string[] => {
    if (each === 'list') return listParameters
    return each === 'deletion' ? deletionParameters : [each]
  })
  return [...new Set(names)].map((name) => renderParameter(name, dialect))
}

function renderParameter(name: string, { version }: Dialect): Schema {
  const type = types[name] ?? 'string'
  const isInPath = name === 'namespace' || name === 'name'
  const place = isInPath ? { in: 'path', required: true } : { in: 'query' }
  const schema = { type, uniqueItems: true }
  return version === 2 ? { name, ...place, ...schema } : { name, ...place, schema }
}
