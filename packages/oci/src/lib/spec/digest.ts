import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'

import { digestSyntax } from '../errors.ts'

/** `<algorithm>:<lower-case hex>` (image-spec, descriptor.md, "Digests"); sha256 and sha512 are the registered ones. */
export type Digest = `sha256:${string}` | `sha512:${string}`

const HEX_LENGTH = { sha256: 64, sha512: 128 } as const

/** Digest of `bytes` with sha256. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Whether `text` is a well-formed digest with a registered algorithm. */
export function isDigest(text: string): text is Digest {
  const match = /^(sha256|sha512):([0-9a-f]+)$/.exec(text)
  return match !== null && match[2]?.length === HEX_LENGTH[match[1] as keyof typeof HEX_LENGTH]
}

/** Checks the form of a digest; throws `FAIRLEAD_OCI_DIGEST`. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  throw digestSyntax(text, 'expected sha256: or sha512: and lower-case hex digits of the right length')
}

/** The two halves of a digest: what names a blob's folder and file in a layout. */
export function splitDigest(digest: Digest): { algorithm: 'sha256' | 'sha512'; hex: string } {
  const [algorithm, hex] = parseDigest(digest).split(':') as ['sha256' | 'sha512', string]
  return { algorithm, hex }
}

/** A running hash that ends in a {@link Digest}; used where content is streamed. */
export function createDigester(algorithm: 'sha256' | 'sha512' = 'sha256'): {
  update(chunk: Uint8Array): void
  digest(): Digest
} {
  const hash: Hash = createHash(algorithm)
  return {
    update(chunk) {
      hash.update(chunk)
    },
    digest: () => `${algorithm}:${hash.digest('hex')}`,
  }
}
