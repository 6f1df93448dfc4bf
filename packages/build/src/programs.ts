/**
 * Images of what is no Node.js service, by the same means: static programs that were built before (Go, Rust, C), and Python
 * applications.
 *
 * @example
 * ```ts no-run
 * import { buildProgram, detectKind } from '@fairlead/build/programs'
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/images')
 * if ((await detectKind('services/pricing')) === 'python') {
 *   const { reference } = await buildProgram({ dir: 'services/pricing', name: 'demo/pricing', layout, cacheDir: '/tmp/cache' })
 * }
 * ```
 */
export { detectKind } from './lib/program/detect.ts'
export type { ProgramKind } from './lib/program/detect.ts'
export { buildProgram } from './lib/program/program.ts'
export type { BuildProgramOptions, ProgramResult } from './lib/program/program.ts'
