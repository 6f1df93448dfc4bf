/**
 * Files for those who want to go on with Docker: a Dockerfile and `.dockerignore` per service, a compose file per app.
 *
 * @example
 * ```ts no-run
 * import { ejectDockerfile, writeEjected } from '@fairlead/build/eject'
 *
 * const { files } = await ejectDockerfile('examples/legacy')
 * await writeEjected(files, { isForced: false })
 * ```
 */
export { COMPOSE_PORT, renderCompose } from './lib/eject/compose.ts'
export type { ComposeApp, ComposeBacking, ComposeService, ComposeText } from './lib/eject/compose.ts'
export { ejectDockerfile, writeEjected } from './lib/eject/eject.ts'
export type { EjectedFile, EjectedService, EjectOptions } from './lib/eject/eject.ts'
export type { PlanOptions, PlannedHealth } from './lib/eject/plan.ts'
