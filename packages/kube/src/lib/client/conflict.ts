import { setTimeout as sleep } from 'node:timers/promises'

import { isConflict } from './kube-error.ts'
import type { KubeResource, ResourceClient, SubresourceOptions } from './resource.ts'

export interface ConflictOptions {
  /** How often to try in all. Default 5, with 10 ms in between, doubled each time. */
  readonly attempts?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Runs `write` again while somebody else was faster (409 Conflict). `write` has to read the object anew each time. */
export async function retryOnConflict<R>(write: () => Promise<R>, options: ConflictOptions = {}): Promise<R> {
  const { attempts = 5, signal } = options
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await write()
    } catch (error) {
      if (!isConflict(error) || attempt >= attempts) {
        throw error
      }
    }
    // Spread, so that those who met do not meet again.
    await sleep(10 * 2 ** (attempt - 1) * (0.5 + Math.random()), undefined, signal && { signal })
  }
}

/** Reads an object, lets `change` alter it (or return another) and writes it back, again from the start after a lost race. */
export async function modifyObject<T extends KubeResource>(
  resource: ResourceClient<T>,
  name: string,
  change: (object: T) => T | void,
  options: SubresourceOptions & ConflictOptions = {},
): Promise<T> {
  const { subresource, ...reading } = options
  return retryOnConflict(async () => {
    const object = await resource.get(name, reading)
    return resource.update(change(object) ?? object, { ...reading, subresource })
  }, options)
}
