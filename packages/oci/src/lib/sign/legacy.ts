import type { ImageHome, NewManifest } from '../attest/image-home.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import { digestOf, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageConfig } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import type { SigningKey } from './keys.ts'
import type { Envelope } from './dsse.ts'

/** A payload in the form of "simple signing", as cosign 1 and 2 signed. */
export const SIMPLE_SIGNING_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json'
/** An attestation of cosign 1 and 2: a DSSE envelope without a bundle. */
export const ENVELOPE_TYPE = 'application/vnd.dsse.envelope.v1+json'
/** The annotation of a layer that holds its signature. */
export const SIGNATURE_ANNOTATION = 'dev.cosignproject.cosign/signature'

/** The tag at which cosign 1 and 2 keep signatures (`sig`) and attestations (`att`) of a digest. */
export function legacyTag(digest: Digest, suffix: 'sig' | 'att'): string {
  const { algorithm, hex } = splitDigest(digest)
  return `${algorithm}-${hex}.${suffix}`
}

/** Signs a digest as cosign 2 does, beside the signatures that are there. */
export async function writeLegacySignature(
  home: ImageHome,
  digest: Digest,
  key: SigningKey,
  annotations: Readonly<Record<string, string>>,
): Promise<Digest> {
  const payload = Buffer.from(
    renderCanonicalJson({
      critical: {
        identity: { 'docker-reference': home.repository },
        image: { 'docker-manifest-digest': digest },
        type: 'cosign container image signature',
      },
      optional: Object.keys(annotations).length === 0 ? null : annotations,
    }),
  )
  const signature = key.sign(payload).toString('base64')
  return append(home, legacyTag(digest, 'sig'), payload, SIMPLE_SIGNING_TYPE, { [SIGNATURE_ANNOTATION]: signature })
}

/** Keeps an attestation as cosign 2 does, beside those that are there. */
export function writeLegacyAttestation(
  home: ImageHome,
  digest: Digest,
  envelope: Envelope,
  predicateType: string,
): Promise<Digest> {
  const content = Buffer.from(renderCanonicalJson(envelope))
  return append(home, legacyTag(digest, 'att'), content, ENVELOPE_TYPE, {
    // cosign 2 looks for the annotation, though it holds nothing here: the signature is in the envelope.
    [SIGNATURE_ANNOTATION]: '',
    predicateType,
  })
}

/** The digest that a simple signing payload is for, with its annotations; `undefined` for what is none. */
export function parseSimpleSigning(
  payload: Uint8Array,
): { digest: string; annotations: Readonly<Record<string, unknown>> } | undefined {
  try {
    const value = JSON.parse(Buffer.from(payload).toString()) as {
      critical?: { image?: { 'docker-manifest-digest'?: unknown } }
      optional?: Record<string, unknown> | null
    }
    const digest = value.critical?.image?.['docker-manifest-digest']
    return typeof digest === 'string' ? { digest, annotations: value.optional ?? {} } : undefined
  } catch {
    return undefined
  }
}

async function append(
  home: ImageHome,
  tag: string,
  content: Buffer,
  mediaType: string,
  annotations: Readonly<Record<string, string>>,
): Promise<Digest> {
  const before = (await home.tagged(tag))?.layers ?? []
  const layer: Descriptor = { mediaType, digest: digestOf(content), size: content.byteLength, annotations }
  const layers = [...before, layer]
  const config: ImageConfig = {
    architecture: '',
    os: '',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  }
  const bytes = Buffer.from(renderCanonicalJson(config))
  const manifest: NewManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(bytes), size: bytes.byteLength },
    layers,
  }
  return home.putTagged(tag, manifest, [bytes, content])
}
