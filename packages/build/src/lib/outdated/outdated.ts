import type { ResolvedImage } from '@fairlead/oci/layout'

import { DEFAULT_NODE_VERSION } from '../options.ts'
import type { Inventory } from '../scan/inventory/component.ts'
import { inventoryOfFolder } from '../scan/inventory/folder.ts'
import { scanInventory } from '../scan/scan.ts'
import type { Finding } from '../scan/scan.ts'
import { loadProject } from '../source/project.ts'
import { outdatedBaseImage, outdatedDebianPackages } from './base.ts'
import { outdatedDependencies } from './dependencies.ts'
import { outdatedNode } from './node.ts'
import type { OutdatedItem, OutdatedPart, OutdatedReport } from './report.ts'

/** What to look at. */
export interface OutdatedOptions {
  /** Folder of a service. */
  dir: string
  /** Its image, with what is in it; without one the base is not checked, and Node.js is that of the next build. */
  image?: { resolved: ResolvedImage; inventory: Inventory } | undefined
  /** Database of advisories; tells which newer versions mend a vulnerability. */
  database: string
  /** Ask nobody; default false. */
  offline?: boolean | undefined
  env?: NodeJS.ProcessEnv | undefined
  /** Default: the time of the call. */
  now?: Date | undefined
  signal?: AbortSignal | undefined
}

/**
 * Looks for newer versions of the base (Debian packages in apt's signed indexes, the tag of a base image), of Node.js and of
 * dependencies (the npm registry). A source that does not answer leaves a sentence in `notChecked`, not an error. Throws
 * what `loadProject` throws.
 */
export async function checkOutdated(options: OutdatedOptions): Promise<OutdatedReport> {
  const { dir, image, signal, env = process.env, now = new Date(), offline: isOffline = false } = options
  const project = await loadProject(dir)
  const findings = await findingsOf(options, now)
  const architecture = image?.resolved.config.architecture === 'arm64' ? 'arm64' : 'amd64'
  const asking = { cwd: project.dir, env, signal, isOffline }
  const node = image?.inventory.components.find(({ purl }) => purl.startsWith('pkg:generic/node@'))?.version
  const parts = await Promise.all([
    image ? baseParts(image, { architecture, env, signal, isOffline }) : noImage,
    outdatedNode(node ?? DEFAULT_NODE_VERSION, architecture, { ...asking, now }),
    outdatedDependencies(project, findings.npm, asking),
  ])
  return {
    checkedAt: now.toISOString(),
    items: parts.flatMap(({ items }) => items).map((item) => withFindings(item, findings.other)),
    checked: parts.reduce((sum, part) => sum + part.checked, 0),
    notChecked: [...parts.flatMap(({ notChecked }) => notChecked), ...findings.notChecked],
  }
}

const noImage: OutdatedPart = {
  items: [],
  checked: 0,
  notChecked: ['base: there is no image yet; fairlead build makes it'],
}

async function baseParts(
  { resolved, inventory }: NonNullable<OutdatedOptions['image']>,
  options: Parameters<typeof outdatedBaseImage>[1],
): Promise<OutdatedPart> {
  const image = await outdatedBaseImage(resolved.config, options)
  // A base image is renewed as a whole, by whoever makes it.
  if (image.checked > 0 || image.notChecked.length > 0) return image
  return outdatedDebianPackages(inventory.components, options)
}

interface Known {
  npm: readonly Finding[]
  other: readonly Finding[]
  notChecked: readonly string[]
}

async function findingsOf({ dir, image, database, signal }: OutdatedOptions, now: Date): Promise<Known> {
  const folder = await inventoryOfFolder(dir, signal)
  const system = image?.inventory.components.filter(({ purl }) => !purl.startsWith('pkg:npm/')) ?? []
  const components = [...folder.components, ...system]
  const report = await scanInventory({ components, unknown: [] }, { database, subject: dir, now })
  const counting = report.findings.filter(({ excused }) => !excused)
  return {
    npm: counting.filter(({ component }) => component.purl.startsWith('pkg:npm/')),
    other: counting.filter(({ component }) => !component.purl.startsWith('pkg:npm/')),
    notChecked: report.notChecked.map((sentence) => `known vulnerabilities of ${sentence}`),
  }
}

/** Newer versions of the base and of Node.js that mend what a scan found are security fixes. */
function withFindings(item: OutdatedItem, findings: readonly Finding[]): OutdatedItem {
  if (item.kind === 'dependency') return item
  const name = item.kind === 'node' ? 'node' : item.name
  const own = findings.filter(({ component }) => component.name === name && component.version === item.current)
  if (own.length === 0) return item
  return { ...item, isSecurity: true, notes: [...item.notes, ...own.map(({ id, severity }) => `${id} (${severity})`)] }
}
