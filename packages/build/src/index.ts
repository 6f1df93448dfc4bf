/**
 * Builds an OCI image of a Node.js or TypeScript service, without a container engine and without root.
 *
 * @example
 * ```ts no-run
 * import { buildImage } from '@fairlead/build'
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/images')
 * const { reference } = await buildImage({ dir: 'examples/legacy', name: 'demo/legacy', layout, cacheDir: '/tmp/cache' })
 * ```
 */
export { buildImage } from './lib/build-image.ts'
export { DEFAULT_NODE_VERSION } from './lib/options.ts'
export type {
  BuildReport,
  ReportedBase,
  ReportedBasePackage,
  ReportedInput,
  ReportedLockfile,
  ReportedNode,
  ReportedPackage,
  ReportedSource,
} from './lib/report.ts'
export type {
  BuildEvent,
  BuildImageOptions,
  BuildResult,
  BuiltBase,
  BuiltLayer,
  BuiltPlatform,
  HealthcheckOptions,
} from './lib/options.ts'
export type { AllowedSecret } from './lib/secrets/allow.ts'
export type { SecretFinding } from './lib/secrets/detect.ts'
