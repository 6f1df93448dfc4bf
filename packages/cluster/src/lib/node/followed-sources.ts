import type { KubeClient, KubeResource } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { Clock } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { sourcesOf, uidOf } from './pod.ts'

export type SourceKind = 'ConfigMap' | 'Secret'

export interface FollowedSourcesOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** Told when an object has changed since a pod that names it came here; given the pods that do. */
  readonly onChange: (podUids: Iterable<string>) => void
}

interface Followed {
  readonly pods: Set<string>
  readonly stop: AbortController
}

/**
 * Watches the ConfigMaps and Secrets that pods of this node name, each by itself: a node may read these and no others.
 * One watch serves all pods that name the object; it ends with the last of them.
 */
export class FollowedSources {
  readonly #options: FollowedSourcesOptions
  readonly #followed = new Map<string, Followed>()

  constructor(options: FollowedSourcesOptions) {
    this.#options = options
  }

  follow(pod: Pod): void {
    const namespace = pod.metadata?.namespace ?? 'default'
    const { configMaps, secrets } = sourcesOf(pod)
    for (const name of configMaps) this.#add('ConfigMap', namespace, name, uidOf(pod))
    for (const name of secrets) this.#add('Secret', namespace, name, uidOf(pod))
  }

  release(podUid: string): void {
    for (const [key, { pods, stop }] of this.#followed) {
      if (!pods.delete(podUid) || pods.size > 0) continue
      stop.abort()
      this.#followed.delete(key)
    }
  }

  close(): void {
    for (const { stop } of this.#followed.values()) stop.abort()
    this.#followed.clear()
  }

  #add(kind: SourceKind, namespace: string, name: string, podUid: string): void {
    const key = `${kind}/${namespace}/${name}`
    const known = this.#followed.get(key)
    if (known !== undefined) return void known.pods.add(podUid)
    const followed = { pods: new Set([podUid]), stop: new AbortController() }
    this.#followed.set(key, followed)
    this.#watch(kind, namespace, name, followed).catch((error: unknown) => {
      if (!followed.stop.signal.aborted) this.#options.onError(error)
    })
  }

  async #watch(kind: SourceKind, namespace: string, name: string, { pods, stop }: Followed): Promise<void> {
    const { client, clock, onError, onChange } = this.#options
    const informer = createInformer<KubeResource>(client.object('v1', kind), {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      signal: stop.signal,
      onError,
      clock,
    })
    await informer.start()
    // What is there now is told first, as added: volumes are fresh from their making then.
    let isReplay = true
    informer.on(() => {
      if (!isReplay) onChange(pods)
    })
    isReplay = false
  }
}
