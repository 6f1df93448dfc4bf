/** A release line of Node.js. */
export interface NodeLine {
  major: number
  /** Days: start of long-term support, and end of life. Lines without `lts` never get it. */
  lts?: string | undefined
  end: string
}

/**
 * Where {@link NODE_LINES} is from: `schedule.json` of that repository as last changed on that day (commit 143dd650cab0), compared entry by entry
 * on 2026-11-21. Lines change rarely, ends sometimes.
 */
export const NODE_LINES_SOURCE = 'https://github.com/nodejs/Release schedule.json of 2026-06-01'

/** Lines that images may still be of. */
export const NODE_LINES: readonly NodeLine[] = [
  { major: 18, lts: '2022-10-25', end: '2025-04-30' },
  { major: 20, lts: '2023-10-24', end: '2026-04-30' },
  { major: 21, end: '2024-06-01' },
  { major: 22, lts: '2024-10-29', end: '2027-04-30' },
  { major: 23, end: '2025-06-01' },
  { major: 24, lts: '2025-10-28', end: '2028-04-30' },
  { major: 25, end: '2026-06-01' },
  { major: 26, lts: '2026-10-28', end: '2029-04-30' },
  { major: 27, end: '2030-04-30' },
]
