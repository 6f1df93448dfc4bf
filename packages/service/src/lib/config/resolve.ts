import { messageOf } from '../errors.ts'
import type { StandardIssue } from '../http/schema.ts'
import { isSecretReference, parseSecretReference } from '../secrets/reference.ts'
import { Secret } from '../secrets/secret.ts'
import { expectationOf, numberOf, parseScalar } from './parse-value.ts'
import { isSensitive } from './sensitive.ts'
import { insideOf, isRecord, resolveReference } from './spec.ts'
import type { ValueSpec } from './spec.ts'
import { suggest } from './suggest.ts'
import { toPlain, toTree } from './tree.ts'
import type { Tree } from './tree.ts'

/** What is wrong with one key. */
export interface Issue {
  readonly kind: 'missing' | 'invalid' | 'unknown'
  readonly path: readonly string[]
  /** What follows the key in a sentence: `is "x", expected a port`. */
  readonly message: string
  /** Of the value; undefined where there is none. */
  readonly origin: string | undefined
}

export interface ResolveContext {
  report(issue: Issue): void
  /** Reads what a secret value refers to (`vault://...`). Without it a reference is taken for what it will be. */
  readonly readSecret?: ((reference: string) => Promise<Secret>) | undefined
}

/** The value that `spec` makes of a tree; every problem is reported, and then the result is of no use. */
export async function resolveSpec(
  spec: ValueSpec,
  given: Tree | undefined,
  context: ResolveContext,
  path: readonly string[] = [],
): Promise<unknown> {
  const isNothing = given === undefined || (given.kind === 'scalar' && given.value === null)
  let tree = isNothing ? defaultOf(spec) : given
  if (spec.secret === true && isReference(tree)) {
    const read = await readReference(tree, context, path)
    if (read === undefined) return undefined
    if (read instanceof Secret) return read
    tree = read
  }
  if (spec.kind === 'schema') return await resolveForeign(spec, tree, context, path)
  if (tree === undefined) {
    if (spec.optional === true) return undefined
    if (spec.kind !== 'group') {
      context.report({
        kind: 'missing',
        path,
        message: `is missing, expected ${expectationOf(spec)}`,
        origin: undefined,
      })
      return undefined
    }
  }
  const value = await resolveOwn(spec, tree, spec.secret === true ? hiding(spec, context) : context, path)
  return spec.secret === true && value !== undefined ? new Secret(value) : value
}

type Reference = Extract<Tree, { kind: 'scalar' }> & { readonly value: string }

function isReference(tree: Tree | undefined): tree is Reference {
  return tree?.kind === 'scalar' && typeof tree.value === 'string' && isSecretReference(tree.value)
}

/** The text a reference stands for, in its place. What it is may look like a reference again, and is none. */
async function readReference(
  tree: Reference,
  context: ResolveContext,
  path: readonly string[],
): Promise<Tree | Secret | undefined> {
  try {
    parseSecretReference(tree.value)
    if (context.readSecret === undefined) return new Secret(tree.value)
    return { ...tree, value: (await context.readSecret(tree.value)).reveal(), isText: true }
  } catch (error) {
    // These messages name the reference, and never what it stands for.
    const message = `refers to a secret that cannot be read: ${messageOf(error)}`
    context.report({ kind: 'invalid', path, message, origin: tree.origin })
    return undefined
  }
}

/** What is wrong inside a secret is told without what is there. */
function hiding(spec: ValueSpec, context: ResolveContext): ResolveContext {
  const message = `is a secret that is not as it should be, expected ${expectationOf(spec)}`
  return { ...context, report: (issue) => context.report(issue.kind === 'invalid' ? { ...issue, message } : issue) }
}

/** The default as a tree, for a value that is nowhere. */
function defaultOf(spec: ValueSpec): Tree | undefined {
  if (spec.kind === 'schema') return undefined
  if (spec.default !== undefined) return toTree(spec.default, 'default')
  return spec.kind === 'record' && spec.optional !== true
    ? { kind: 'map', entries: new Map(), origin: 'default' }
    : undefined
}

async function resolveOwn(
  spec: Exclude<ValueSpec, { kind: 'schema' }>,
  tree: Tree | undefined,
  context: ResolveContext,
  path: readonly string[],
): Promise<unknown> {
  if (spec.kind === 'group') {
    if (tree !== undefined && tree.kind !== 'map') return report(spec, tree, context, path)
    return await resolveGroup(spec.keys, tree?.entries ?? new Map<string, Tree>(), context, path)
  }
  if (tree === undefined) return undefined
  if (spec.kind === 'record') {
    if (tree.kind !== 'map') return report(spec, tree, context, path)
    const values: [string, unknown][] = []
    for (const [name, item] of tree.entries) {
      if (refuseName(name, item, context, path)) continue
      values.push([name, await resolveSpec(spec.of, item, context, [...path, name])])
    }
    return Object.fromEntries(values)
  }
  if (spec.kind === 'list') {
    if (tree.kind !== 'list') return report(spec, tree, context, path)
    const { length } = tree.items
    if (length < (spec.minItems ?? 0) || length > (spec.maxItems ?? Infinity)) return report(spec, tree, context, path)
    const items: unknown[] = []
    for (const [index, item] of tree.items.entries())
      items.push(await resolveSpec(spec.of, item, context, [...path, String(index)]))
    return items
  }
  if (tree.kind !== 'scalar') return report(spec, tree, context, path)
  const parsed = parseScalar(spec, tree)
  return 'value' in parsed ? parsed.value : report(spec, tree, context, path)
}

async function resolveGroup(
  keys: Readonly<Record<string, ValueSpec>>,
  entries: ReadonlyMap<string, Tree>,
  context: ResolveContext,
  path: readonly string[],
): Promise<Record<string, unknown>> {
  for (const [name, item] of entries) {
    if (!Object.hasOwn(keys, name)) reportUnknown(name, Object.keys(keys), item, context, path)
  }
  const values: [string, unknown][] = []
  for (const [name, spec] of Object.entries(keys))
    values.push([name, await resolveSpec(spec, entries.get(name), context, [...path, name])])
  return Object.fromEntries(values)
}

function report(spec: ValueSpec, tree: Tree, context: ResolveContext, path: readonly string[]): undefined {
  const message = `is ${describeFound(spec, tree, path)}, expected ${expectationOf(spec)}${adviceFor(spec, tree)}`
  context.report({ kind: 'invalid', path, message, origin: tree.origin })
  return undefined
}

function reportUnknown(
  name: string,
  known: readonly string[],
  tree: Tree,
  context: ResolveContext,
  path: readonly string[],
): void {
  const near = suggest(name, known)
  const rest = near === undefined ? '' : `, did you mean ${JSON.stringify(near)}?`
  context.report({ kind: 'unknown', path: [...path, name], message: `is not a known key${rest}`, origin: tree.origin })
}

/** A key that would be something else on an object. */
function refuseName(name: string, tree: Tree, context: ResolveContext, path: readonly string[]): boolean {
  if (name !== '__proto__') return false
  context.report({ kind: 'unknown', path: [...path, name], message: 'is not a permitted key', origin: tree.origin })
  return true
}

function describeFound(spec: ValueSpec, tree: Tree, path: readonly string[]): string {
  if (isSensitive(spec, path)) return 'a secret that is not as it should be'
  if (tree.kind === 'list') return tree.items.length === 1 ? 'a list of 1 item' : `a list of ${tree.items.length} items`
  if (tree.kind === 'map') return 'a group of keys'
  if (typeof tree.value !== 'string') return String(tree.value)
  const shown = hidePassword(tree.value)
  return JSON.stringify(shown.length > 60 ? `${shown.slice(0, 57)}...` : shown)
}

/** A URL without its password; it may be one even where a URL was not expected. */
export function hidePassword(text: string): string {
  return text.replaceAll(/(:\/\/[^/?#\s:@]*):[^/?#\s]*@/g, '$1:[redacted]@')
}

/** The mistake people make most with this kind. */
function adviceFor(spec: ValueSpec, tree: Tree): string {
  if (tree.kind !== 'scalar' || tree.isText) return ''
  const { value } = tree
  if (spec.kind === 'text' && typeof value !== 'string') return ' (put it in quotes)'
  if (spec.kind === 'duration' && typeof value === 'number') return ` (write "${value}s" or "${value}ms")`
  const isQuoted = typeof value === 'string' && (numberOf(value) !== undefined || /^(true|false)$/.test(value))
  if (isQuoted && ['number', 'port', 'boolean'].includes(spec.kind)) return ' (remove the quotes)'
  return ''
}

async function resolveForeign(
  spec: Extract<ValueSpec, { kind: 'schema' }>,
  given: Tree | undefined,
  context: ResolveContext,
  path: readonly string[],
): Promise<unknown> {
  let issueCount = 0
  const counting: ResolveContext = {
    ...context,
    report(issue) {
      issueCount += 1
      context.report(issue)
    },
  }
  const tree = given ?? (spec.default === undefined ? undefined : toTree(spec.default, 'default'))
  if (tree === undefined && spec.optional === true) return undefined
  if (tree !== undefined) findUnknown(spec, tree, counting, path)
  const chosen = new Map<string, unknown>()
  // A whole configuration without any value is a group without keys.
  const nothing = path.length === 0 ? {} : undefined
  for (let round = 0; ; round++) {
    const plain = fillObjects(spec, tree === undefined ? nothing : plainOf(tree, [], chosen))
    let issues: readonly StandardIssue[]
    try {
      const result = await spec.schema['~standard'].validate(plain)
      if (result.issues === undefined) {
        if (issueCount > 0) return undefined
        return spec.secret === true && result.value !== undefined ? new Secret(result.value) : result.value
      }
      issues = result.issues
    } catch (error) {
      issues = [{ message: `its schema failed: ${messageOf(error)}` }]
    }
    if (tree !== undefined && round < 8 && chooseOthers(spec, tree, issues, chosen)) continue
    reportForeign(spec, tree, issues, counting, path)
    return undefined
  }
}

function reportForeign(
  spec: ValueSpec,
  tree: Tree | undefined,
  issues: readonly StandardIssue[],
  context: ResolveContext,
  path: readonly string[],
): void {
  for (const issue of issues) {
    const inner = (issue.path ?? []).map((step) => String(typeof step === 'object' ? step.key : step))
    const found = lookUp(tree, inner)
    const isMissing = found === undefined || (found.kind === 'scalar' && found.value === null)
    const message =
      isSensitive(spec, [...path, ...inner]) && !isMissing
        ? 'its value is a secret, so the reason is not shown'
        : hidePassword(issue.message)
    context.report({
      kind: isMissing ? 'missing' : 'invalid',
      path: [...path, ...inner],
      message: `is ${isMissing ? 'missing' : 'not valid'}: ${message}`,
      origin: found?.origin,
    })
  }
}

/** Keys that the foreign schema does not know and would drop without a word. */
function findUnknown(spec: ValueSpec, tree: Tree, context: ResolveContext, path: readonly string[]): void {
  if (tree.kind !== 'map') return
  const inside = insideOf(spec)
  for (const [name, item] of tree.entries) {
    if (refuseName(name, item, context, path) || inside === undefined) continue
    const known = inside.keys.get(name) ?? inside.others
    if (known === undefined) reportUnknown(name, [...inside.keys.keys()], item, context, path)
    else findUnknown(known, item, context, [...path, name])
  }
}

/** Objects that must be there are there, so that a schema names what is missing in them. */
function fillObjects(spec: ValueSpec, value: unknown): unknown {
  if (spec.kind !== 'schema' || spec.json === undefined) return value
  const json = resolveReference(spec.json, spec.json)
  if (json['type'] !== 'object' || !isRecord(json['properties'])) return value
  const filled = value ?? (json['default'] === undefined ? {} : undefined)
  if (!isRecord(filled)) return value
  const required = Array.isArray(json['required']) ? json['required'].map(String) : []
  const added = [...(insideOf(spec)?.keys ?? [])]
    .filter(([name]) => required.includes(name) || filled[name] !== undefined)
    .map(([name, inner]) => [name, fillObjects(inner, filled[name])] as const)
    .filter(([, inner]) => inner !== undefined)
  return { ...filled, ...Object.fromEntries(added) }
}

/**
 * Text from the environment may stand for a number, a truth, a list: the schema decides. Where it refuses the text, the
 * next reading of it is tried. True when something was changed.
 */
function chooseOthers(
  spec: ValueSpec,
  tree: Tree,
  issues: readonly StandardIssue[],
  chosen: Map<string, unknown>,
): boolean {
  let isChanged = false
  const visit = (part: Tree, at: readonly string[]): void => {
    if (part.kind === 'list') part.items.forEach((item, index) => visit(item, [...at, String(index)]))
    if (part.kind === 'map') for (const [name, item] of part.entries) visit(item, [...at, name])
    if (part.kind !== 'scalar' || !part.isText || typeof part.value !== 'string') return
    const id = JSON.stringify(at)
    if (chosen.has(id)) return
    const reading = readingOf(part.value, spec, at)
    if (reading === undefined) return
    chosen.set(id, reading.value)
    isChanged = true
  }
  for (const { path = [] } of issues) {
    const at = path.map((step) => String(typeof step === 'object' ? step.key : step))
    const found = lookUp(tree, at)
    if (found !== undefined) visit(found, at)
  }
  return isChanged
}

/** What else a text may mean. */
function readingOf(text: string, spec: ValueSpec, at: readonly string[]): { readonly value: unknown } | undefined {
  const type = typeAt(spec, at)
  if (type === 'string') return undefined
  const amount = numberOf(text)
  if (amount !== undefined) return { value: type === 'array' ? [text] : amount }
  const truth = words.get(text.trim().toLowerCase())
  if (truth !== undefined && type !== 'array') return { value: truth }
  if (/^\s*[[{]/.test(text)) {
    try {
      return { value: JSON.parse(text) }
    } catch {
      return undefined
    }
  }
  if (type === 'array' || (type === undefined && text.includes(','))) return { value: splitList(text) }
  return undefined
}

const words: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['false', false],
  ['yes', true],
  ['no', false],
  ['on', true],
  ['off', false],
])

/** `a, b,c` */
function splitList(text: string): string[] {
  const items = text.split(',').map((item) => item.trim())
  return items.filter((item) => item !== '')
}

function typeAt(spec: ValueSpec, at: readonly string[]): unknown {
  let current: ValueSpec | undefined = spec
  for (const name of at) {
    const inside: ReturnType<typeof insideOf> = current && insideOf(current)
    current = inside?.keys.get(name) ?? inside?.others
  }
  return current?.kind === 'schema' && current.json !== undefined
    ? resolveReference(current.json, current.json)['type']
    : undefined
}

function plainOf(tree: Tree, at: readonly string[], chosen: ReadonlyMap<string, unknown>): unknown {
  if (tree.kind === 'list') return tree.items.map((item, index) => plainOf(item, [...at, String(index)], chosen))
  if (tree.kind === 'map') {
    const entries = [...tree.entries].map(([name, item]) => [name, plainOf(item, [...at, name], chosen)] as const)
    return Object.fromEntries(entries.filter(([name, value]) => value !== undefined && name !== '__proto__'))
  }
  const id = JSON.stringify(at)
  return chosen.has(id) ? chosen.get(id) : toPlain(tree)
}

/** The part of a tree at a path. */
export function lookUp(tree: Tree | undefined, path: readonly string[]): Tree | undefined {
  let current = tree
  for (const name of path) {
    if (current?.kind === 'map') current = current.entries.get(name)
    else current = current?.kind === 'list' ? current.items[Number(name)] : undefined
  }
  return current
}
