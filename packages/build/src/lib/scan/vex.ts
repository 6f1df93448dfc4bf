import { readFile } from 'node:fs/promises'

import { vexInvalid } from './errors.ts'
import type { Finding } from './scan.ts'

/** What a VEX document says about a vulnerability in products, as far as it excuses anything. */
export interface VexStatement {
  /** Name and aliases of the vulnerability. */
  names: readonly string[]
  products: readonly { ids: readonly string[]; subcomponents: readonly string[] }[]
  status: 'not_affected' | 'fixed'
  justification?: string | undefined
  reason?: string | undefined
}

const MAX_BYTES = 32 << 20

/** Reads an OpenVEX document. Throws `FAIRLEAD_BUILD_SCAN_VEX`. */
export async function loadVexFile(path: string): Promise<VexStatement[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw vexInvalid(path, 'it cannot be read', error)
  })
  if (bytes.byteLength > MAX_BYTES) throw vexInvalid(path, `it is larger than ${MAX_BYTES} bytes`)
  return parseVex(path, bytes.toString())
}

interface RawProduct {
  '@id'?: unknown
  identifiers?: Readonly<Record<string, unknown>>
  hashes?: Readonly<Record<string, unknown>>
  subcomponents?: readonly RawProduct[]
}

interface RawStatement {
  vulnerability?: { name?: unknown; '@id'?: unknown; aliases?: readonly unknown[] } | string
  products?: readonly (RawProduct | string)[]
  status?: unknown
  justification?: unknown
  impact_statement?: unknown
}

/** As {@link loadVexFile}, of text. Later statements of the document replace earlier ones about the same thing. */
export function parseVex(path: string, text: string): VexStatement[] {
  let document: { '@context'?: unknown; statements?: readonly RawStatement[] }
  try {
    document = JSON.parse(text) as typeof document
  } catch (error) {
    throw vexInvalid(path, 'it is no JSON', error)
  }
  const context = document?.['@context']
  if (typeof context !== 'string' || !context.startsWith('https://openvex.dev/ns')) {
    throw vexInvalid(path, 'its "@context" is not that of OpenVEX')
  }
  if (!Array.isArray(document.statements)) throw vexInvalid(path, 'it has no statements')
  return document.statements.toReversed().flatMap((statement) => toStatement(statement as RawStatement))
}

function toStatement(raw: RawStatement): VexStatement[] {
  const { vulnerability, products = [], status, justification, impact_statement: impact } = raw
  if (status !== 'not_affected' && status !== 'fixed') return []
  const names =
    typeof vulnerability === 'string'
      ? [vulnerability]
      : [vulnerability?.name, vulnerability?.['@id'], ...(vulnerability?.aliases ?? [])]
  return [
    {
      names: texts(names),
      status,
      justification: typeof justification === 'string' ? justification : undefined,
      reason: typeof impact === 'string' ? impact : undefined,
      products: products.map((product) =>
        typeof product === 'string'
          ? { ids: [product], subcomponents: [] }
          : { ids: idsOf(product), subcomponents: (product.subcomponents ?? []).flatMap(idsOf) },
      ),
    },
  ]
}

function idsOf({ '@id': id, identifiers = {}, hashes = {} }: RawProduct): string[] {
  const digests = Object.values(hashes).map((hash) => (typeof hash === 'string' ? `sha256:${hash}` : undefined))
  return texts([id, ...Object.values(identifiers), ...digests])
}

function texts(values: readonly unknown[]): string[] {
  return values.filter((value) => typeof value === 'string')
}

/** The statement that excuses a finding: about its component, or about the subject and, where named, the component in it. */
export function findStatement(
  statements: readonly VexStatement[],
  finding: Finding,
  subject: { subject: string; digest?: string | undefined },
): VexStatement | undefined {
  const names = new Set([finding.id, ...finding.aliases])
  const isComponent = (id: string): boolean => isSamePackage(id, finding.component.purl)
  const isSubject = (id: string): boolean =>
    id === subject.subject || (subject.digest !== undefined && decodeURIComponent(id).includes(subject.digest))
  return statements.find(
    (statement) =>
      statement.names.some((name) => names.has(name)) &&
      statement.products.some(({ ids, subcomponents }) =>
        ids.some(isSubject) ? subcomponents.length === 0 || subcomponents.some(isComponent) : ids.some(isComponent),
      ),
  )
}

/** Qualifiers do not count, and a package URL without a version means every version. */
function isSamePackage(id: string, purl: string): boolean {
  const given = normalize(id)
  const actual = normalize(purl)
  return given === actual || actual.replace(/@[^@/]*$/, '') === given
}

function normalize(purl: string): string {
  return purl.replace(/[?#].*$/, '').replace(/^pkg:npm\/@/, 'pkg:npm/%40')
}
