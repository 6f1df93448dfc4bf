import { LineCounter, parseAllDocuments, stringify } from 'yaml'
import { manifestSyntax } from '../errors.ts'
import { holdsLongInteger, narrowInteger } from './exact-json.ts'
import type { Document, Tags, YAMLParseError } from 'yaml'
import type { KubeObject } from '../types/kinds.ts'

/** An alias bomb turns a short text into a huge object; manifests use a handful of aliases at most. */
const maxAliasCount = 100

/**
 * Kubernetes reads YAML 1.1 (`defaultMode: 0644` is octal, `on` is a boolean) but without its base-60 numbers and
 * dates, so `22:22` and `2024-01-01` stay text.
 */
const options = {
  version: '1.1',
  customTags: (tags: Tags): Tags =>
    tags.filter((tag) => typeof tag === 'string' || ('format' in tag ? tag.format !== 'TIME' : !isTimestamp(tag.tag))),
} as const

function isTimestamp(tag: string): boolean {
  return tag === 'tag:yaml.org,2002:timestamp'
}

export interface IntegerOptions {
  /** Whole numbers of 64 bits that a double cannot hold become bigints. Default: false, they are rounded. */
  exactIntegers?: boolean
}

/**
 * Reads Kubernetes objects from YAML or JSON text with any number of documents.
 *
 * Empty documents are skipped and lists (`kind: List`, `PodList`) give their items. Each object has `apiVersion`,
 * `kind` and `metadata`. Throws `SyntaxError` with code FAIRLEAD_KUBE_MANIFEST naming `source:line`; keys given twice
 * and more than 100 expanded aliases are errors.
 */
export function parseManifests(text: string, source = 'manifest', integers: IntegerOptions = {}): KubeObject[] {
  return parseDocuments(text, source, integers).flatMap(({ value, place }) => {
    if (value === null || value === undefined) return []
    return toObjects(value, place)
  })
}

/** Reads one YAML or JSON document of any shape, under the same rules as {@link parseManifests}. */
export function parseYaml(text: string, source = 'document'): unknown {
  const documents = parseDocuments(text, source, {})
  if (documents.length > 1) throw manifestSyntax(source, `it holds ${documents.length} documents, expected one`)
  return documents[0]?.value ?? null
}

/** A key that a mapping of a YAML text has more than once. */
export interface RepeatedKey {
  readonly key: string
  /** Of its later place, from 1. */
  readonly line: number
}

/** As {@link parseYaml}, but the last of several equal keys counts, and all but the first are told of. */
export function parseRepeatingYaml(
  text: string,
  source = 'document',
  integers: IntegerOptions = {},
): { value: unknown; repeated: RepeatedKey[] } {
  const repeated: RepeatedKey[] = []
  const documents = parseDocuments(text, source, integers, repeated)
  if (documents.length > 1) throw manifestSyntax(source, `it holds ${documents.length} documents, expected one`)
  return { value: documents[0]?.value ?? null, repeated }
}

/** Block-style YAML of one value; text that YAML 1.1 would read as a number or a boolean is quoted. */
export function renderYaml(value: unknown): string {
  return stringify(value, { version: '1.1', aliasDuplicateObjects: false, lineWidth: 0 })
}

interface Parsed {
  value: unknown
  place: string
}

/** With `repeated`, a key given twice is noted there; without, it is an error. */
function parseDocuments(
  text: string,
  source: string,
  { exactIntegers = false }: IntegerOptions,
  repeated?: RepeatedKey[],
): Parsed[] {
  const lines = new LineCounter()
  const intAsBigInt = exactIntegers && holdsLongInteger(text)
  let documents: Document.Parsed[]
  try {
    const parsed = parseAllDocuments(text, { ...options, intAsBigInt, lineCounter: lines, prettyErrors: false })
    documents = 'empty' in parsed ? [] : parsed
  } catch (error) {
    // Nesting beyond the stack ends here.
    throw manifestSyntax(source, error instanceof Error ? error.message : String(error), error)
  }
  return documents.map((document) => {
    const isNoted = (error: YAMLParseError): boolean => repeated !== undefined && error.code === 'DUPLICATE_KEY'
    for (const { pos } of document.errors.filter(isNoted)) {
      repeated?.push({ key: keyAt(text, pos[0]), line: lines.linePos(pos[0]).line })
    }
    const problem = document.errors.find((error) => !isNoted(error))
    if (problem !== undefined) {
      throw manifestSyntax(placeOf(source, lines, problem.pos[0]), problem.message, problem)
    }
    const place = placeOf(source, lines, document.contents?.range[0] ?? 0)
    try {
      return { value: document.toJS({ maxAliasCount, ...(intAsBigInt && { reviver: narrow }) }) as unknown, place }
    } catch (error) {
      throw manifestSyntax(place, error instanceof Error ? error.message : String(error), error)
    }
  })
}

function narrow(_key: unknown, value: unknown): unknown {
  return typeof value === 'bigint' ? narrowInteger(value) : value
}

function placeOf(source: string, lines: LineCounter, offset: number): string {
  return `${source}:${Math.max(lines.linePos(offset).line, 1)}`
}

/** The key that begins at `offset`, without quotes. */
function keyAt(text: string, offset: number): string {
  const [, double, single, plain] = /"((?:[^"\\]|\\.)*)"|'([^']*)'|([^:\n]*)/y.exec(text.slice(offset)) ?? []
  return double ?? single ?? plain?.trim() ?? ''
}

function toObjects(value: unknown, place: string): KubeObject[] {
  if (!isRecord(value)) throw manifestSyntax(place, 'the document is no object, expected a Kubernetes object')
  for (const key of ['apiVersion', 'kind']) {
    if (typeof value[key] !== 'string' || value[key] === '') throw manifestSyntax(place, `${key} is missing`)
  }
  if (String(value.kind).endsWith('List') && Array.isArray(value.items)) {
    return value.items.flatMap((item) => toObjects(item, place))
  }
  if (!isRecord(value.metadata)) throw manifestSyntax(place, 'metadata is missing')
  // The proof of the cast stands above: apiVersion and kind are strings, metadata is an object.
  return [value as KubeObject]
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
