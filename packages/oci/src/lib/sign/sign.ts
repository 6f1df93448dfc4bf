import type { ImageHome, NewManifest } from '../attest/image-home.ts'
import { createStatement, predicateTypes } from '../attest/statement.ts'
import type { Statement } from '../attest/statement.ts'
import { signatureMissing } from '../errors.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import { digestOf } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { BUNDLE_TYPE, renderBundle } from './bundle.ts'
import { IN_TOTO_TYPE, signEnvelope } from './dsse.ts'
import { collectEvidence } from './evidence.ts'
import type { Evidence } from './evidence.ts'
import type { SigningKey, VerificationKey } from './keys.ts'
import { writeLegacyAttestation, writeLegacySignature } from './legacy.ts'

/** How to sign. */
export interface SignOptions {
  key: SigningKey
  /** Signed with the digest; who verifies can ask for them. */
  annotations?: Readonly<Record<string, string>> | undefined
  /** Keep it as cosign 1 and 2 did, under a tag; default false: a sigstore bundle that refers to the image. */
  legacy?: boolean | undefined
  /** Time written into the manifest of the signature; default: none, so that nothing but the signature differs. */
  created?: Date | undefined
}

/** One signature or attestation. */
export interface Signed {
  /** The image or index it is about. */
  subject: Digest
  predicateType: string
  /** The manifest that carries it; absent when the same key has said the same before. */
  digest: Digest | undefined
}

/**
 * Signs what a reference means, and of an index also every image in it, so that a machine that pulled one platform can
 * verify it. What this key signed before is left as it is. cosign 3 verifies the result, and cosign 1 and 2 what `legacy`
 * makes.
 */
export async function signImage(home: ImageHome, options: SignOptions): Promise<Signed[]> {
  const { key, annotations = {}, legacy = false } = options
  const signed: Signed[] = []
  for (const subject of [home.image, ...(await home.children())]) {
    const predicateType = predicateTypes.signature
    const known = await knownEvidence(home, subject.digest, options, predicateType)
    const isKnown = known.some(
      (evidence) => renderCanonicalJson(evidence.annotations) === renderCanonicalJson(annotations),
    )
    const digest = isKnown
      ? undefined
      : legacy
        ? await writeLegacySignature(home, subject.digest, key, annotations)
        : await writeBundle(home, subject, signatureStatement(subject.digest, annotations), options)
    signed.push({ subject: subject.digest, predicateType, digest })
  }
  return signed
}

/** What is claimed about an image. */
export interface AttestOptions extends Omit<SignOptions, 'annotations'> {
  /** URI of the type, see `predicateTypes`. */
  predicateType: string
  predicate: unknown
}

/** Signs a statement about what a reference means. What this key stated before, word for word, is left as it is. */
export async function attestImage(home: ImageHome, options: AttestOptions): Promise<Signed> {
  const { key, predicateType, predicate, legacy = false } = options
  const { digest: subject } = home.image
  const statement = createStatement({ digest: subject, predicateType, predicate, name: home.repository })
  const known = await knownEvidence(home, subject, options, predicateType)
  if (known.some((evidence) => renderCanonicalJson(evidence.predicate) === renderCanonicalJson(predicate))) {
    return { subject, predicateType, digest: undefined }
  }
  const digest = legacy
    ? await writeLegacyAttestation(home, subject, seal(statement, key), predicateType)
    : await writeBundle(home, home.image, statement, options)
  return { subject, predicateType, digest }
}

/** What must be true of an image. */
export interface VerifyOptions {
  /** Any one of them will do. */
  keys: readonly VerificationKey[]
  /** Default: that of a signature. */
  predicateType?: string | undefined
  /** Must have been signed with it, with these values. */
  annotations?: Readonly<Record<string, string>> | undefined
  /** Whether the tags of cosign 1 and 2 count too; default true. */
  legacy?: boolean | undefined
}

/**
 * The evidence that one of the keys signed what the reference means, or stated something about it. Nothing but the home
 * is asked. Throws `FAIRLEAD_OCI_SIGNATURE` when there is none.
 */
export async function verifyImage(home: ImageHome, options: VerifyOptions): Promise<Evidence[]> {
  const { keys, predicateType = predicateTypes.signature, annotations = {}, legacy } = options
  const found = await collectEvidence(home, home.image.digest, { keys, predicateTypes: [predicateType], legacy })
  const fitting = found.verified.filter((evidence) =>
    Object.entries(annotations).every(([name, value]) => evidence.annotations[name] === value),
  )
  if (fitting.length > 0) return fitting
  const what = predicateType === predicateTypes.signature ? 'signature' : `attestation of type ${predicateType}`
  throw signatureMissing(home.reference, home.image.digest, describeLack(what, found.verified.length, found.rejected))
}

function describeLack(what: string, otherwise: number, rejected: readonly { reason: string }[]): string {
  if (otherwise > 0) return `no ${what} has the annotations that are asked for`
  if (rejected.length === 0) return `it has no ${what}`
  const reasons = [...new Set(rejected.map(({ reason }) => reason))]
  return `it has no ${what} that can be verified; ${rejected.length} rejected: ${reasons.join(', ')}`
}

function signatureStatement(digest: Digest, annotations: Readonly<Record<string, string>>): Statement {
  const statement = createStatement({ digest, predicateType: predicateTypes.signature, predicate: {} })
  if (Object.keys(annotations).length === 0) return statement
  return { ...statement, subject: statement.subject.map((subject) => ({ ...subject, annotations })) }
}

function seal(statement: Statement, key: SigningKey): ReturnType<typeof signEnvelope> {
  return signEnvelope(Buffer.from(renderCanonicalJson(statement)), IN_TOTO_TYPE, key)
}

function writeBundle(
  home: ImageHome,
  subject: Descriptor,
  statement: Statement,
  { key, created }: Pick<SignOptions, 'key' | 'created'>,
): Promise<Digest> {
  const content = Buffer.from(renderCanonicalJson(renderBundle(seal(statement, key), key.publicKey)))
  const empty = Buffer.from('{}')
  const manifest: NewManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: BUNDLE_TYPE,
    config: { mediaType: mediaTypes.empty, digest: digestOf(empty), size: empty.byteLength },
    layers: [{ mediaType: BUNDLE_TYPE, digest: digestOf(content), size: content.byteLength }],
    annotations: {
      ...(created ? { 'org.opencontainers.image.created': created.toISOString() } : {}),
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': statement.predicateType,
    },
  }
  return home.attach(subject, manifest, [content])
}

async function knownEvidence(
  home: ImageHome,
  digest: Digest,
  { key, legacy = false }: Pick<SignOptions, 'key' | 'legacy'>,
  predicateType: string,
): Promise<Evidence[]> {
  const keys = [key.publicKey]
  const { verified } = await collectEvidence(home, digest, { keys, predicateTypes: [predicateType], legacy })
  return verified.filter(({ format }) => format === (legacy ? 'legacy' : 'bundle'))
}
