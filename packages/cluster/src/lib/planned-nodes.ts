import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { nodeCount, nodeZone } from './errors.ts'

/** Nodes a cluster shows, all on this machine. */
export interface NodeChoices {
  /** How many, from 1 to 20. */
  readonly count: number
  /** Values of `topology.kubernetes.io/zone`, given to the nodes in turn. Empty: none has that label. */
  readonly zones: readonly string[]
}

/** As many as a cluster shows at most. */
export const mostNodes = 20
const file = 'nodes.json'

/** What was asked for, else what the cluster in `dir` had last; kept for the next start. */
export async function chooseNodes(
  dir: string,
  { count, zones }: { readonly count?: number | undefined; readonly zones?: readonly string[] | undefined },
): Promise<NodeChoices> {
  if (count !== undefined && !(Number.isInteger(count) && count >= 1 && count <= mostNodes)) {
    throw nodeCount(count, mostNodes)
  }
  const wrong = zones?.find((zone) => zone.length > 63 || !/^[a-z0-9A-Z]([-a-z0-9A-Z_.]*[a-z0-9A-Z])?$/.test(zone))
  if (wrong !== undefined) throw nodeZone(wrong)
  const kept = await readChoices(dir)
  const chosen = { count: count ?? kept?.count ?? 1, zones: zones ?? kept?.zones ?? [] }
  await writeFile(join(dir, `${file}.tmp`), JSON.stringify(chosen))
  await rename(join(dir, `${file}.tmp`), join(dir, file))
  return chosen
}

async function readChoices(dir: string): Promise<NodeChoices | undefined> {
  try {
    // Ours, and written whole.
    return JSON.parse(await readFile(join(dir, file), 'utf8')) as NodeChoices
  } catch {
    return undefined
  }
}

/** One of the nodes of this machine. */
export interface PlannedNode {
  readonly name: string
  readonly dir: string
  readonly zone: string | undefined
}

/** The first node has the name it would have alone; the others are numbered from 2. */
export function planNodes(dir: string, firstName: string, { count, zones }: NodeChoices): readonly PlannedNode[] {
  return Array.from({ length: count }, (_, index) => {
    const name = index === 0 ? firstName : `${firstName}-${index + 1}`
    const zone = zones[index % zones.length]
    return { name, zone, dir: index === 0 ? join(dir, 'node') : join(dir, 'nodes', name) }
  })
}
