import type { Digest } from '../spec/digest.ts'

/** What an image consists of, before it is written as SPDX or CycloneDX. */
export interface BillOfMaterials {
  /** Repository of the image, such as `localhost/shop/web`. */
  name: string
  /** Manifest of the image. */
  digest: Digest
  /** Processor the image is for, in Go's words. */
  architecture?: string | undefined
  /** ISO 8601: when the image was made, so that the same image has the same bill. */
  created: string
  /** The program that made the bill. */
  tool: { name: string; version: string }
  components: readonly BillComponent[]
}

/** One thing in an image. */
export interface BillComponent {
  /** Unique in the bill: mostly the purl. */
  id: string
  type: 'application' | 'library' | 'operating-system' | 'platform'
  name: string
  version: string
  /** Package URL, see {@link renderPurl}. */
  purl?: string | undefined
  /** Licence as its maker writes it, best as SPDX expression. */
  license?: string | undefined
  /** Of the package as it was fetched, in hexadecimal digits. */
  hashes?: readonly { algorithm: 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512'; hex: string }[] | undefined
  /** Address it was fetched from. */
  downloadLocation?: string | undefined
  /** `id` of what it needs. */
  dependsOn?: readonly string[] | undefined
  /** Facts without a place of their own, such as where it lies. */
  properties?: Readonly<Record<string, string>> | undefined
}

/** Orders components and takes one of several with the same id, so that equal images give equal bills. */
export function sortComponents(components: readonly BillComponent[]): BillComponent[] {
  const byId = new Map(components.map((component) => [component.id, component]))
  return [...byId.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

/** The time without fractions of a second, as SPDX wants it. */
export function wholeSeconds(created: string): string {
  return `${new Date(created).toISOString().slice(0, 19)}Z`
}
