import { findingsFrom, inventoryOfImage, openScanCache, scanInventory } from '@fairlead/build/scan'
import { mediaTypes } from '@fairlead/oci'
import type { Digest, ImageConfig, ImageManifest } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import type { Homes } from '../homes.ts'
import { databasePath } from './subjects.ts'

/** What was pushed, and where. */
export interface PushedImage {
  /** Folder of the registry's store. */
  readonly storeDir: string
  readonly repository: string
  readonly digest: Digest
  readonly mediaType: string
  readonly homes: Homes
  readonly signal: AbortSignal
}

/** A scan in numbers, for a line of the log. */
export interface PushedScan {
  readonly level: 'info' | 'warn'
  readonly critical: number
  readonly high: number
  readonly findings: number
  readonly notChecked: readonly string[]
}

/** Scans an image that was pushed; `undefined` for an index (its images are pushed on their own) and for other things. */
export async function scanPushed(pushed: PushedImage): Promise<PushedScan | undefined> {
  const { storeDir, repository, digest, mediaType, homes, signal } = pushed
  const layout = await openLayout(storeDir)
  const bytes = await layout.readBlob(digest)
  const manifest = JSON.parse(bytes.toString()) as ImageManifest
  if (
    manifest.config?.mediaType !== mediaTypes.config &&
    !manifest.config?.mediaType.startsWith('application/vnd.docker.container.image')
  )
    return undefined
  const config = JSON.parse((await layout.readBlob(manifest.config.digest)).toString()) as ImageConfig
  const image = { descriptor: { mediaType, digest, size: bytes.byteLength }, manifest, config }
  const inventory = await inventoryOfImage(layout, image, { cache: await openScanCache(homes.cache), signal })
  const report = await scanInventory(inventory, { database: databasePath(homes), subject: repository, digest })
  const high = findingsFrom(report, 'high').length
  const critical = findingsFrom(report, 'critical').length
  return {
    level: high > 0 || report.notChecked.length > 0 ? 'warn' : 'info',
    critical,
    high: high - critical,
    findings: findingsFrom(report, 'unknown').length,
    notChecked: report.notChecked,
  }
}
