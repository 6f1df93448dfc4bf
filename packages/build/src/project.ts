/**
 * Where a service folder starts, and under which conditions its imports are resolved.
 *
 * ```ts no-run
 * import { loadEntry } from '@fairlead/build/project'
 *
 * const { entry, conditions } = await loadEntry('services/orders')
 * console.log(entry, conditions)
 * ```
 */
export { loadEntry } from './lib/source/project.ts'
