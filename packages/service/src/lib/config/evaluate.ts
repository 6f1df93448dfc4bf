import { Secret } from '../secrets/secret.ts'
import { readLayers } from './layers.ts'
import { listLeaves, renderEnvName, renderFlagName } from './names.ts'
import type { ConfigKeyReport, ConfigOptions, ConfigProblem, ConfigReport, ConfigValues } from './options.ts'
import { expectationOf } from './parse-value.ts'
import { hidePassword, lookUp, resolveSpec } from './resolve.ts'
import type { Issue, ResolveContext } from './resolve.ts'
import { isSensitive } from './sensitive.ts'
import { insideOf, isRecord, resolveReference } from './spec.ts'
import type { ValueSpec } from './spec.ts'
import { renderKey } from './tree.ts'
import type { Tree } from './tree.ts'

export interface Evaluation extends ConfigReport {
  /** Deeply frozen; of no use unless `isValid`. */
  readonly value: unknown
}

/** Decides what a configuration is from the texts of its layers. Reads nothing but the secrets they refer to, and changes nothing. */
export async function evaluate(
  spec: ValueSpec,
  options: ConfigOptions,
  values: ConfigValues,
  readSecret?: ResolveContext['readSecret'],
): Promise<Evaluation> {
  const layers = await readLayers(spec, options, values)
  const issues: Issue[] = []
  const value = await resolveSpec(spec, layers.tree, { report: (issue) => issues.push(issue), readSecret })
  const problems = [...layers.problems, ...issues.map((issue) => toProblem(issue, options))]
  const isValid = problems.length === 0
  if (isValid) freeze(value)
  return {
    isValid,
    problems,
    warnings: layers.warnings,
    keys: reportKeys(spec, options, layers.tree, isValid ? value : undefined),
    value,
  }
}

function toProblem({ kind, path, message, origin }: Issue, options: ConfigOptions): ConfigProblem {
  const key = renderKey(path)
  const hint = kind === 'missing' && path.length > 0 ? `Set ${listWays(path, options).join(', or ')}` : undefined
  const subject = path.length === 0 ? 'the configuration' : key
  return { kind, key, origin, message: `${subject} ${message}${origin === undefined ? '' : ` (${origin})`}`, hint }
}

/** Everywhere that a key could be set. */
function listWays(path: readonly string[], { env, files = [], dir = [], args }: ConfigOptions): string[] {
  const ways: string[] = []
  if (env !== undefined) ways.push(`the variable ${renderEnvName(env, path)}`)
  for (const mounted of [dir].flat()) ways.push(`the key "${path.join('.')}" mounted at ${mounted}`)
  for (const file of files) ways.push(`"${renderKey(path)}" in ${typeof file === 'string' ? file : file.path}`)
  if (args !== undefined) ways.push(`the flag ${renderFlagName(path)}`)
  return ways.length === 0 ? ['a default'] : ways
}

/** Every key that is known or has a value. */
function reportKeys(
  spec: ValueSpec,
  options: ConfigOptions,
  tree: Tree | undefined,
  value: unknown,
): ConfigKeyReport[] {
  const isRequiredAt = requirements(spec)
  const known = listLeaves(spec).map(({ path, spec: leaf }) => ({ path, leaf }))
  return known.map(({ path, leaf }) => {
    const isSecret = isSensitive(leaf, path)
    const found = path.reduce<unknown>((inner, name) => (isRecord(inner) ? inner[name] : undefined), value)
    const origin = originOf(lookUp(tree, path)) ?? (found === undefined ? undefined : 'default')
    return {
      key: renderKey(path),
      type: expectationOf(leaf),
      isRequired: isRequiredAt(path, leaf),
      isSecret,
      ...(defaultOf(leaf) === undefined || isSecret ? {} : { default: defaultOf(leaf) }),
      ...(options.env === undefined ? {} : { env: renderEnvName(options.env, path) }),
      ...(leaf.help === undefined ? {} : { help: leaf.help }),
      ...(origin === undefined ? {} : { origin }),
      ...(found === undefined ? {} : { value: isSecret ? '[redacted]' : show(found) }),
    }
  })
}

/** Of a value, or of the values in it. */
function originOf(tree: Tree | undefined): string | undefined {
  if (tree === undefined || (tree.kind === 'scalar' && tree.value === null)) return undefined
  if (tree.kind !== 'map') return tree.origin
  const origins = [...new Set([...tree.entries.values()].map(originOf).filter((origin) => origin !== undefined))]
  return origins.length === 0 ? tree.origin : origins.join(', ')
}

/** Whether a key must be set. For schemas of other libraries their JSON Schema says so, if there is one. */
function requirements(spec: ValueSpec): (path: readonly string[], leaf: ValueSpec) => boolean {
  const isOwn = (path: readonly string[]): boolean => {
    let current: ValueSpec = spec
    for (const name of path) {
      const inner = insideOf(current)?.keys.get(name)
      if (inner === undefined) return false
      if (current.kind === 'schema' && current.json !== undefined) {
        const required = resolveReference(current.json, current.json)['required']
        if (!Array.isArray(required) || !required.includes(name)) return false
      }
      current = inner
    }
    return true
  }
  return (path, leaf) =>
    isOwn(path) &&
    defaultOf(leaf) === undefined &&
    leaf.optional !== true &&
    leaf.kind !== 'record' &&
    leaf.kind !== 'group'
}

function defaultOf(spec: ValueSpec): unknown {
  return spec.default ?? (spec.kind === 'schema' ? spec.json?.['default'] : undefined)
}

/** A value as it may be printed. */
function show(value: unknown): unknown {
  if (value instanceof Secret) return '[redacted]'
  if (typeof value === 'string') return hidePassword(value)
  if (typeof value === 'bigint' || value instanceof URL || value instanceof Date) return hidePassword(String(value))
  if (Array.isArray(value)) return value.map(show)
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, isSensitive(noSpec, [name]) ? '[redacted]' : show(inner)]),
  )
}

const noSpec: ValueSpec = { kind: 'text' }

/** Freezes lists and plain objects; what a schema made of a class stays as its class wants it. */
function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  const prototype: unknown = Object.getPrototypeOf(value)
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) return
  Object.freeze(value)
  for (const inner of Object.values(value)) freeze(inner)
}
