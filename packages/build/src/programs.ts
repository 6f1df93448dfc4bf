/**
 * Images of what is no Node.js service, by the same means: static programs that were built before (Go, Rust, C), and Python
 * applications.
 *
 * @example
 * ```ts no-run
 * import { detectKind } from '@fairlead/build/project'
 * import { buildProgram } from '@fairlead/build/programs'
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/images')
 * if ((await detectKind('services/pricing')) === 'python') {
 *   const { reference } = await buildProgram({ dir: 'services/pricing', name: 'demo/pricing', layout, cacheDir: '/tmp/cache' })
 * }
 * ```
 */
export { buildProgram } from './lib/program/program.ts'
export type { BuildProgramOptions, ProgramResult } from './lib/program/program.ts'
