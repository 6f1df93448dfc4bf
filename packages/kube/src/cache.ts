/**
 * Informers: local, indexed copies of collections, kept current by watches.
 *
 * ```ts no-run
 * import { connectKube } from '@fairlead/kube'
 * import { createInformer } from '@fairlead/kube/cache'
 *
 * const stop = new AbortController()
 * const pods = createInformer(connectKube().resource('v1/Pod'), { signal: stop.signal })
 * pods.index('node', (pod) => [pod.spec?.nodeName ?? ''])
 * await pods.start()
 * console.log(pods.byIndex('node', 'worker-1').length)
 * ```
 */
export { createInformer } from './lib/cache/informer.ts'
export type { Informer, InformerEvent, InformerHandler, InformerOptions } from './lib/cache/informer.ts'
export { createInformers } from './lib/cache/informers.ts'
export type { Informers, InformerSelection } from './lib/cache/informers.ts'
export { ValuePool } from './lib/cache/value-pool.ts'
export type { IndexFunction } from './lib/cache/store.ts'
