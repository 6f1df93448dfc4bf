import type { SigningKey, VerificationKey } from './keys.ts'

/** A signed payload (DSSE 1.0, "Envelope"); all binary values are base64. */
export interface Envelope {
  payload: string
  payloadType: string
  signatures: readonly { sig: string; keyid?: string | undefined }[]
}

export const IN_TOTO_TYPE = 'application/vnd.in-toto+json'

/** Signs a payload. The signature covers its type as well. */
export function signEnvelope(payload: Uint8Array, payloadType: string, key: SigningKey): Envelope {
  const signature = key.sign(preAuthenticationEncoding(payloadType, payload))
  return {
    payload: Buffer.from(payload).toString('base64'),
    payloadType,
    signatures: [{ sig: signature.toString('base64') }],
  }
}

/** The payload, if at least one signature is by one of the keys; with that key. */
export function verifyEnvelope(
  envelope: Envelope,
  keys: readonly VerificationKey[],
): { payload: Buffer; key: VerificationKey } | undefined {
  const payload = Buffer.from(envelope.payload, 'base64')
  const signed = preAuthenticationEncoding(envelope.payloadType, payload)
  for (const { sig } of envelope.signatures) {
    const signature = Buffer.from(sig, 'base64')
    const key = keys.find((candidate) => candidate.verify(signed, signature))
    if (key) return { payload, key }
  }
  return undefined
}

/** The bytes that are signed (DSSE 1.0, "PAE"). */
function preAuthenticationEncoding(type: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.byteLength} `
  return Buffer.concat([Buffer.from(head), payload])
}
