import type { KubeObject } from '@fairlead/kube/types'

import { isEqual } from '../metadata.ts'
import type { Registry } from '../registry.ts'
import { knownResource, readObject } from '../resource.ts'
import type { Resource } from '../resource.ts'
import { StatusError } from '../status.ts'
import { autoUpdate, firstObjects } from './first-objects.ts'
import type { FirstObject } from './first-objects.ts'

const group = 'flowcontrol.apiserver.k8s.io'
const resources = [knownResource(group, 'v1', 'prioritylevelconfigurations'), knownResource(group, 'v1', 'flowschemas')]
const writer = {
  manager: 'api-priority-and-fairness-config-producer-v1',
  apiVersion: `${group}/v1`,
  subresource: '',
}
/** How soon what was changed or deleted is looked at. */
const pauseMs = 60_000

/** Makes the priority levels and flow schemas every cluster has, and brings those that are there up to date. */
export async function ensureFlowControl(registry: Registry): Promise<void> {
  await Promise.all([...firstObjects.map((each) => ensure(registry, each)), ...unwantedIn(registry)])
}

/** Does so again within a minute of any change of them; returns how to end it. */
export function keepFlowControl(registry: Registry, onError: (error: unknown) => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const schedule = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      ensureFlowControl(registry).catch(onError)
    }, pauseMs).unref()
  }
  const subscriptions = resources.map(({ collection }) => registry.store.subscribe(collection, undefined, schedule))
  return () => {
    clearTimeout(timer)
    for (const subscription of subscriptions) subscription.unsubscribe()
  }
}

/**
 * What an object that is there must become; undefined when nothing is to be done. The spec of a suggested one is its own
 * once somebody has changed it, which its annotation then says.
 */
export function revise(existing: KubeObject, { object, isMandatory }: FirstObject): KubeObject | undefined {
  const { annotations = {}, generation } = existing.metadata
  const said = booleanIn(annotations[autoUpdate])
  const isOurs = isMandatory || (said ?? generation === 1)
  const isSame = !isOurs || isEqual(existing['spec'], object['spec'])
  if (isSame && said === isOurs) return undefined
  const metadata = { ...existing.metadata, annotations: { ...annotations, [autoUpdate]: String(isOurs) } }
  return { ...existing, metadata, spec: structuredClone((isSame ? existing : object)['spec']) }
}

/** As Go's `strconv.ParseBool`. */
function booleanIn(text: string | undefined): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text ?? '')) return true
  return /^(0|f|F|FALSE|false|False)$/.test(text ?? '') ? false : undefined
}

async function ensure(registry: Registry, expected: FirstObject): Promise<void> {
  const { object } = expected
  const { name = '' } = object.metadata
  const resource = resourceFor(object)
  const entry = registry.store.get(resource.collection, name)
  const options = { namespace: '', isDryRun: false, ownership: { writer } }
  try {
    if (entry === undefined) await registry.create(resource, structuredClone(object), options)
    else if (revise(readObject(resource, entry), expected) !== undefined) {
      await registry.update(resource, { ...options, name, part: 'object' }, (now) => revise(now, expected) ?? now)
    }
  } catch (error) {
    ignoreRace(error)
  }
}

/** Objects of an earlier version that nobody has made their own. */
function unwantedIn(registry: Registry): Promise<void>[] {
  const wanted = new Set(firstObjects.map(({ object }) => `${object.kind} ${object.metadata.name}`))
  return resources.flatMap((resource) => {
    const unwanted = [...registry.store.list(resource.collection)].filter((entry) => {
      if (wanted.has(`${resource.info.kind} ${entry.id}`)) return false
      return booleanIn(readObject(resource, entry).metadata.annotations?.[autoUpdate]) === true
    })
    return unwanted.map(({ id }) => remove(registry, resource, id))
  })
}

async function remove(registry: Registry, resource: Resource, name: string): Promise<void> {
  const deletion = { gracePeriodSeconds: 0, propagationPolicy: undefined, preconditions: {}, isDryRun: false }
  try {
    await registry.delete(resource, '', name, deletion)
  } catch (error) {
    ignoreRace(error)
  }
}

function resourceFor({ kind }: KubeObject): Resource {
  return knownResource(group, 'v1', `${kind.toLowerCase()}s`)
}

/** Somebody else was faster; that is a change to look at again. */
function ignoreRace(error: unknown): void {
  const code = error instanceof StatusError ? error.status.code : 0
  if (code !== 404 && code !== 409) throw error
}
