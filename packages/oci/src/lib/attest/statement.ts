import type { Digest } from '../spec/digest.ts'
import { splitDigest } from '../spec/digest.ts'

/** A claim about artifacts (in-toto Statement v1). */
export interface Statement {
  _type: string
  subject: readonly { name?: string | undefined; digest: Readonly<Record<string, string>> }[]
  predicateType: string
  predicate?: unknown
}

/** Types of what a statement says. */
export const predicateTypes = {
  /** An image was signed with cosign 3, or by us; the predicate is empty. */
  signature: 'https://sigstore.dev/cosign/sign/v1',
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
  provenance: 'https://slsa.dev/provenance/v1',
  vulnerabilities: 'https://cosign.sigstore.dev/attestation/vuln/v1',
} as const

/** The words `--type` takes for predicate types, with those of cosign. */
export const predicateNames: Readonly<Record<string, string>> = {
  spdx: predicateTypes.spdx,
  spdxjson: predicateTypes.spdx,
  cyclonedx: predicateTypes.cyclonedx,
  slsaprovenance: predicateTypes.provenance,
  slsaprovenance1: predicateTypes.provenance,
  provenance: predicateTypes.provenance,
  vuln: predicateTypes.vulnerabilities,
  openvex: 'https://openvex.dev/ns',
  link: 'https://in-toto.io/Link/v1',
  signature: predicateTypes.signature,
}

/** A predicate type from a word of {@link predicateNames} or a URI; `undefined` for anything else. */
export function toPredicateType(text: string): string | undefined {
  if (Object.hasOwn(predicateNames, text)) return predicateNames[text]
  return /^https?:\/\/\S+$/.test(text) && URL.canParse(text) ? text : undefined
}

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1'
/** What cosign 2 and others wrote before. */
const KNOWN_STATEMENT_TYPES = [STATEMENT_TYPE, 'https://in-toto.io/Statement/v0.1']

/** The statement that `predicate` holds for the image with `digest`; `name` is its repository. */
export function createStatement(options: {
  digest: Digest
  predicateType: string
  predicate: unknown
  name?: string | undefined
}): Statement {
  const { digest, predicateType, predicate, name } = options
  const { algorithm, hex } = splitDigest(digest)
  const subject = { ...(name === undefined ? {} : { name }), digest: { [algorithm]: hex } }
  return { _type: STATEMENT_TYPE, subject: [subject], predicateType, predicate }
}

/** The statement in a payload; `undefined` for what is none. */
export function parseStatement(payload: Uint8Array): Statement | undefined {
  let value: Partial<Statement> | null
  try {
    value = JSON.parse(Buffer.from(payload).toString()) as Partial<Statement> | null
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !KNOWN_STATEMENT_TYPES.includes(value._type ?? ''))
    return undefined
  if (typeof value.predicateType !== 'string' || !Array.isArray(value.subject)) return undefined
  const isWhole = value.subject.every((each: unknown) => isRecord(each) && isRecord(each['digest']))
  return isWhole ? (value as Statement) : undefined
}

/** Whether the statement is about the image with `digest`. */
export function isAbout(statement: Statement, digest: Digest): boolean {
  const { algorithm, hex } = splitDigest(digest)
  return statement.subject.some((subject) => subject.digest[algorithm] === hex)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
