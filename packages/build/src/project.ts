/**
 * What a service folder holds: which kind of program, where it starts, under which conditions its imports are resolved.
 *
 * ```ts no-run
 * import { loadEntry } from '@fairlead/build/project'
 *
 * const { entry, conditions } = await loadEntry('services/orders')
 * console.log(entry, conditions)
 * ```
 */
export { loadEntry } from './lib/source/project.ts'
export { detectKind } from './lib/program/detect.ts'
export type { ProgramKind } from './lib/program/detect.ts'
