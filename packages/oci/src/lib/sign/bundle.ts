import type { Envelope } from './dsse.ts'
import type { VerificationKey } from './keys.ts'

/** Media type of a sigstore bundle, and artifact type of the manifest that carries it. */
export const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json'

/** What a sigstore bundle signs: an envelope, or the bytes of the image's manifest. */
export type BundleContent =
  | { kind: 'envelope'; envelope: Envelope; keyHint: string | undefined }
  | { kind: 'message'; signature: Buffer; keyHint: string | undefined }

/** A bundle (sigstore bundle v0.3, protobuf JSON) of an envelope signed by a key that the verifier has. */
export function renderBundle(envelope: Envelope, key: VerificationKey): unknown {
  return {
    mediaType: BUNDLE_TYPE,
    verificationMaterial: { publicKey: { hint: key.hint } },
    dsseEnvelope: envelope,
  }
}

/**
 * Reads a bundle of version 0.1 to 0.3; `undefined` for anything else. Certificates, transparency log entries and time
 * stamps in it are not read: who verifies by key needs none of them.
 */
export function parseBundle(bytes: Uint8Array): BundleContent | undefined {
  const bundle = parse(bytes)
  if (
    !bundle ||
    !/^application\/vnd\.dev\.sigstore\.bundle(\.v0\.\d\+json|\+json;version=0\.\d)$/.test(bundle.mediaType ?? '')
  )
    return undefined
  const hint = bundle.verificationMaterial?.publicKey?.hint
  const keyHint = typeof hint === 'string' ? hint : undefined
  const envelope = bundle.dsseEnvelope
  if (isEnvelope(envelope)) return { kind: 'envelope', envelope, keyHint }
  const signature = bundle.messageSignature?.signature
  return typeof signature === 'string'
    ? { kind: 'message', signature: Buffer.from(signature, 'base64'), keyHint }
    : undefined
}

interface RawBundle {
  mediaType?: string
  verificationMaterial?: { publicKey?: { hint?: unknown } }
  dsseEnvelope?: unknown
  messageSignature?: { signature?: unknown }
}

function parse(bytes: Uint8Array): RawBundle | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString())
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** Whether a value has the shape of a DSSE envelope. */
export function isEnvelope(value: unknown): value is Envelope {
  const envelope = value as Partial<Envelope> | null | undefined
  return (
    typeof envelope?.payload === 'string' &&
    typeof envelope.payloadType === 'string' &&
    Array.isArray(envelope.signatures) &&
    envelope.signatures.every((each: unknown) => typeof (each as { sig?: unknown } | null)?.sig === 'string')
  )
}
