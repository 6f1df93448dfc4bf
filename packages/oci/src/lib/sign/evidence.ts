import type { ImageHome } from '../attest/image-home.ts'
import { isAbout, parseStatement, predicateTypes } from '../attest/statement.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageManifest } from '../spec/image.ts'
import { isManifestType } from '../spec/media-types.ts'
import { BUNDLE_TYPE, isEnvelope, parseBundle } from './bundle.ts'
import { IN_TOTO_TYPE, verifyEnvelope } from './dsse.ts'
import type { Envelope } from './dsse.ts'
import type { VerificationKey } from './keys.ts'
import { ENVELOPE_TYPE, SIGNATURE_ANNOTATION, SIMPLE_SIGNING_TYPE, legacyTag, parseSimpleSigning } from './legacy.ts'

/** A statement about an image whose signature was verified by a key. */
export interface Evidence {
  /** The manifest or index that it is about. */
  subject: Digest
  /** `https://sigstore.dev/cosign/sign/v1` for a signature. */
  predicateType: string
  predicate: unknown
  /** Annotations that were signed with it. */
  annotations: Readonly<Record<string, string>>
  /** The key that verified it. */
  key: VerificationKey
  format: 'bundle' | 'legacy'
}

/** What was found on an image. */
export interface Findings {
  verified: readonly Evidence[]
  /** Signatures and attestations that no key verified, and what is wrong with each. */
  rejected: readonly { digest: Digest; reason: string }[]
}

/** Which evidence is looked for. */
export interface EvidenceOptions {
  keys: readonly VerificationKey[]
  /** Only of these types; default: all. */
  predicateTypes?: readonly string[] | undefined
  /** Whether the tags of cosign 1 and 2 are looked at too; default true. */
  legacy?: boolean | undefined
}

const MAX_REFERRERS = 1_000
const PREDICATE_ANNOTATION = 'dev.sigstore.bundle.predicateType'
/** Layers that can hold evidence. */
const EVIDENCE_TYPES = [SIMPLE_SIGNING_TYPE, ENVELOPE_TYPE]

/**
 * Verifies all that is signed about a digest by one of the keys: sigstore bundles among its referrers, and what cosign 1
 * and 2 kept under tags. Nothing outside of the home is asked: no transparency log, no certificate authority, no clock.
 */
export async function collectEvidence(home: ImageHome, digest: Digest, options: EvidenceOptions): Promise<Findings> {
  const verified: Evidence[] = []
  const rejected: { digest: Digest; reason: string }[] = []
  const wanted = options.predicateTypes
  for (const manifest of await manifestsAbout(home, digest, options)) {
    for (const layer of manifest.layers) {
      if (!isEvidenceType(layer.mediaType)) continue
      const outcome = await verifyLayer(home, digest, layer, options.keys)
      if (typeof outcome === 'string') rejected.push({ digest: layer.digest, reason: outcome })
      else if (!wanted || wanted.includes(outcome.predicateType)) verified.push(outcome)
    }
  }
  return { verified, rejected }
}

async function manifestsAbout(home: ImageHome, digest: Digest, options: EvidenceOptions): Promise<ImageManifest[]> {
  const { legacy = true, predicateTypes: wanted } = options
  const referrers = (await home.referrers(digest)).filter(({ mediaType }) => isManifestType(mediaType))
  const hopeful = referrers.filter(({ artifactType = '', annotations }) => {
    const said = annotations?.[PREDICATE_ANNOTATION]
    // An annotation is not signed. It can hide evidence, which whoever may write it could remove as well.
    if (wanted && said !== undefined && !wanted.includes(said)) return false
    return isEvidenceType(artifactType) || artifactType.startsWith('application/vnd.dev.cosign.')
  })
  const manifests: ImageManifest[] = []
  for (const { digest: found } of hopeful.slice(0, MAX_REFERRERS)) {
    const manifest = JSON.parse((await home.manifest(found)).toString()) as ImageManifest
    if (manifest.subject?.digest === digest && Array.isArray(manifest.layers)) manifests.push(manifest)
  }
  if (!legacy) return manifests
  const tagged = await Promise.all((['sig', 'att'] as const).map((suffix) => home.tagged(legacyTag(digest, suffix))))
  return [...manifests, ...tagged.filter((manifest) => manifest !== undefined)]
}

function isEvidenceType(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.dev.sigstore.bundle') || EVIDENCE_TYPES.includes(mediaType)
}

/** The evidence in a layer, or what is wrong with it. */
async function verifyLayer(
  home: ImageHome,
  subject: Digest,
  layer: Descriptor,
  keys: readonly VerificationKey[],
): Promise<Evidence | string> {
  const content = await home.blob(layer)
  if (layer.mediaType === SIMPLE_SIGNING_TYPE) return verifySimple(content, layer, subject, keys)
  if (layer.mediaType === ENVELOPE_TYPE) {
    const envelope = parseJson(content)
    return isEnvelope(envelope) ? verifyClaim(envelope, 'legacy', subject, keys) : 'it is no DSSE envelope'
  }
  const bundle = parseBundle(content)
  if (!bundle) return `it is no sigstore bundle such as ${BUNDLE_TYPE}`
  if (bundle.kind === 'envelope') return verifyClaim(bundle.envelope, 'bundle', subject, keys)
  const signed = await home.manifest(subject)
  const key = keys.find((candidate) => candidate.verify(signed, bundle.signature))
  if (!key) return NO_KEY
  const predicateType = predicateTypes.signature
  return { subject, predicateType, predicate: {}, annotations: {}, key, format: 'bundle' }
}

const NO_KEY = 'none of the keys made its signature'

function verifyClaim(
  envelope: Envelope,
  format: Evidence['format'],
  subject: Digest,
  keys: readonly VerificationKey[],
): Evidence | string {
  if (envelope.payloadType !== IN_TOTO_TYPE) return `its payload is of type "${envelope.payloadType}"`
  const opened = verifyEnvelope(envelope, keys)
  if (!opened) return NO_KEY
  const statement = parseStatement(opened.payload)
  if (!statement) return 'its payload is no in-toto statement'
  if (!isAbout(statement, subject)) return 'it is about another image'
  const { predicateType, predicate } = statement
  const own = statement.subject as readonly { annotations?: Record<string, string> }[]
  return { subject, predicateType, predicate, annotations: own[0]?.annotations ?? {}, key: opened.key, format }
}

function verifySimple(
  content: Buffer,
  layer: Descriptor,
  subject: Digest,
  keys: readonly VerificationKey[],
): Evidence | string {
  const signature = layer.annotations?.[SIGNATURE_ANNOTATION]
  if (!signature) return 'it has no signature'
  const key = keys.find((candidate) => candidate.verify(content, Buffer.from(signature, 'base64')))
  if (!key) return NO_KEY
  const payload = parseSimpleSigning(content)
  if (payload?.digest !== subject) return 'it is about another image'
  const annotations = Object.entries(payload.annotations).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  return {
    subject,
    predicateType: predicateTypes.signature,
    predicate: {},
    annotations: Object.fromEntries(annotations),
    key,
    format: 'legacy',
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}
