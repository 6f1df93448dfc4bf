/**
 * Whether base, Node.js and dependencies of a service have newer versions or fixes.
 *
 * @example
 * ```ts no-run
 * import { checkOutdated } from '@fairlead/build/outdated'
 *
 * const { items, notChecked } = await checkOutdated({ dir: 'services/orders', database: '/tmp/advisories.db' })
 * for (const { name, current, wanted, command } of items) console.log(name, current, wanted, command)
 * ```
 */
export { lineNotes } from './lib/outdated/node.ts'
export { NODE_LINES, NODE_LINES_SOURCE } from './lib/outdated/node-lines.ts'
export type { NodeLine } from './lib/outdated/node-lines.ts'
export { checkOutdated } from './lib/outdated/outdated.ts'
export type { OutdatedOptions } from './lib/outdated/outdated.ts'
export type { OutdatedItem, OutdatedReport } from './lib/outdated/report.ts'
