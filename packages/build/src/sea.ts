/**
 * One executable file of a service, out of its image: Node.js with the program inside.
 *
 * @example
 * ```ts no-run
 * import { buildImage } from '@fairlead/build'
 * import { buildExecutable } from '@fairlead/build/sea'
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/images')
 * const { platforms } = await buildImage({ dir: 'examples/legacy', name: 'demo/legacy', layout, cacheDir: '/tmp/cache' })
 * for (const image of platforms) {
 *   await buildExecutable(image, { layout, file: '/tmp/legacy', name: 'demo/legacy', cacheDir: '/tmp/cache' })
 * }
 * ```
 */
export { buildExecutable } from './lib/sea/executable.ts'
export type { ExecutableOptions, ExecutableResult } from './lib/sea/executable.ts'
