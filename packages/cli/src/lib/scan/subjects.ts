import { existsSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { inventoryOfFolder, inventoryOfImage } from '@fairlead/build/scan'
import type { Inventory } from '@fairlead/build/scan'
import { openScanCache } from '@fairlead/build/scan'
import { loadApp } from '@fairlead/delivery/app'
import type { AppService } from '@fairlead/delivery/app'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import type { Homes } from '../homes.ts'
import { findImage, openImages } from '../image/local.ts'

/** Something to scan, with what it consists of. */
export interface ScanSubject {
  readonly subject: string
  readonly digest?: string | undefined
  readonly inventory: Inventory
  /** What the person should know about the choice of it. */
  readonly notes: readonly string[]
}

export interface FindSubjectsOptions {
  readonly homes: Homes
  readonly cwd: string
  readonly platform: string | undefined
  readonly signal: AbortSignal
}

/** Database of advisories of this user. */
export function databasePath({ home }: Homes): string {
  return join(home, 'advisories.db')
}

/** The image a reference means, or the services of the app in a folder. */
export async function findSubjects(target: string, options: FindSubjectsOptions): Promise<ScanSubject[]> {
  const { homes, cwd, platform } = options
  const path = resolve(cwd, target)
  if (existsSync(path) && statSync(path).isDirectory()) return findServices(path, options)
  const { layout, image } = await findImage(homes, target, platform)
  return [await imageSubject(target, layout, image, options)]
}

async function imageSubject(
  subject: string,
  layout: Layout,
  image: ResolvedImage,
  { homes, signal }: FindSubjectsOptions,
): Promise<ScanSubject> {
  const inventory = await inventoryOfImage(layout, image, { cache: await openScanCache(homes.cache), signal })
  return { subject, digest: image.descriptor.digest, inventory, notes: [] }
}

async function findServices(dir: string, options: FindSubjectsOptions): Promise<ScanSubject[]> {
  const app = await loadApp(dir, { signal: options.signal })
  const found: ScanSubject[] = []
  for (const service of app.services) found.push(await serviceSubject(app.name, service, options))
  return found
}

/** The dependencies as they are now, and base and Node.js of the image that was built last. */
async function serviceSubject(app: string, service: AppService, options: FindSubjectsOptions): Promise<ScanSubject> {
  const { components } = await inventoryOfFolder(service.dir, options.signal)
  const built = await builtImage(app, service, options)
  const subject = `${app}/${service.name}`
  if (!built) {
    const notes = [`${subject}: base and Node.js are not looked at, because there is no image yet (fairlead build)`]
    return { subject, inventory: { components, unknown: [] }, notes }
  }
  const below = built.inventory.components.filter(({ purl }) => !purl.startsWith('pkg:npm/'))
  return { subject, inventory: { components: [...components, ...below], unknown: [] }, notes: [] }
}

/** The image of a service that was built last, for the processor of this machine. */
export async function builtImage(
  app: string,
  service: AppService,
  { homes, platform, signal }: FindSubjectsOptions,
): Promise<{ resolved: ResolvedImage; inventory: Inventory } | undefined> {
  const layout = await openImages(homes)
  const resolved = await layout.resolve(`localhost/${app}/${service.name}:latest`, platform).catch(() => undefined)
  if (!resolved) return undefined
  const cache = await openScanCache(homes.cache)
  return { resolved, inventory: await inventoryOfImage(layout, resolved, { cache, signal }) }
}
