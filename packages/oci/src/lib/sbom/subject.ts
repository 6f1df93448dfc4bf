import { createHash } from 'node:crypto'

import type { BillOfMaterials } from './bill.ts'
import { renderPurl } from './purl.ts'

/** The package URL of an image (purl-spec, type "oci"): the last part of its name, its digest, and where it lies. */
export function imagePurl({ name, digest, architecture }: BillOfMaterials): string {
  const last = name.slice(name.lastIndexOf('/') + 1)
  return renderPurl({
    type: 'oci',
    name: last,
    version: digest,
    qualifiers: { arch: architecture, repository_url: name },
  })
}

/** A UUID made of the content alone (RFC 9562, version 8), so that it is the same for the same content. */
export function toUuid(content: string): string {
  const bytes = createHash('sha256').update(content).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
