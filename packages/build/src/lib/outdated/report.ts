/** Something for which there is a newer version. */
export interface OutdatedItem {
  kind: 'base' | 'node' | 'dependency'
  name: string
  current: string
  /** The newest version that needs no change of the source: inside the range, the release line, the suite. */
  wanted?: string | undefined
  /** The newest version of all. */
  latest?: string | undefined
  /** Whether the newer version mends a known vulnerability, or the current one gets no more fixes. */
  isSecurity: boolean
  /** Sentences: what is mended, deprecated or ended. */
  notes: readonly string[]
  /** What brings `wanted`, or `latest` where nothing else does. */
  command: string
}

/** What could be newer, and what could not be asked. */
export interface OutdatedReport {
  checkedAt: string
  items: readonly OutdatedItem[]
  /** How many things were compared with their sources. */
  checked: number
  /** Sentences about what nothing can be said of. */
  notChecked: readonly string[]
}

/** Items and gaps of one kind. */
export type OutdatedPart = Pick<OutdatedReport, 'items' | 'checked' | 'notChecked'>
