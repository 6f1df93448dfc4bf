import { isAlreadyExists, isConflict, isNotFound, type KubeClient, type ResourceClient } from '@fairlead/kube'
import { createThreeWayMergePatch } from '@fairlead/kube/patch'
import { findKind, type KubeObject } from '@fairlead/kube/types'
import { ownedByAnother } from '../errors.ts'
import { ensureNamespace } from './namespaces.ts'
import { appLabel, managedByLabel, managerName } from '../render/labels.ts'

/** What became of one object. */
export interface Applied {
  readonly action: 'created' | 'configured' | 'unchanged' | 'pruned'
  /** As the API server has it now; for a pruned object as it was. */
  readonly object: KubeObject
}

export interface ApplyOptions {
  /** Namespace for objects that name none. Default: the namespace of the client. */
  readonly namespace?: string | undefined
  /** Name of an app whose objects, no longer among those given, are deleted. Default: nothing is deleted. */
  readonly pruneApp?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Called after each object. */
  readonly onApplied?: ((applied: Applied) => void) | undefined
}

/** Annotation in which kubectl keeps what was last applied; kept by us too, so both may take turns. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

/** Kinds of which an app owns objects, in the order in which they are deleted. */
const prunedKinds = [
  ['apps/v1', 'Deployment'],
  // Its claims stay, and with them the data; so does the Secret that the data know.
  ['apps/v1', 'StatefulSet'],
  ['v1', 'Service'],
  ['v1', 'ConfigMap'],
] as const

const maxAttempts = 5

/**
 * Makes the cluster hold `objects`, as `kubectl apply` would: a three-way strategic merge that leaves fields of others
 * alone and removes fields that were applied before and are gone now. Creates the namespace when it is absent. An
 * object that did not change is not written. Objects are applied in the given order.
 * @throws Error `FAIRLEAD_DELIVERY_OWNERSHIP` when an object belongs to another app, before anything is written.
 */
export async function applyObjects(
  client: KubeClient,
  objects: readonly KubeObject[],
  options: ApplyOptions = {},
): Promise<Applied[]> {
  const { signal, onApplied } = options
  const desired = objects.map((object) => inNamespace(object, options.namespace ?? client.namespace))
  const current = await Promise.all(desired.map((object) => read(client, object, signal)))
  for (const [index, object] of desired.entries()) checkOwner(object, current[index])
  await ensureNamespaces(client, desired, signal)
  const results: Applied[] = []
  const done = (applied: Applied): void => {
    results.push(applied)
    onApplied?.(applied)
  }
  for (const [index, object] of desired.entries()) done(await applyOne(client, object, current[index], signal))
  if (options.pruneApp !== undefined) {
    for (const object of await listAbandoned(client, desired, options.pruneApp, options)) {
      await resourceOf(client, object).delete(object.metadata.name ?? '', {
        namespace: object.metadata.namespace,
        uid: object.metadata.uid,
        signal,
      })
      done({ action: 'pruned', object })
    }
  }
  return results
}

/** `deployment/web`, as kubectl spells it. */
export function nameObject({ kind, metadata }: KubeObject): string {
  return `${kind.toLowerCase()}/${metadata.name}`
}

function inNamespace(object: KubeObject, namespace: string): KubeObject {
  const isNamespaced = findKind(object.apiVersion, object.kind)?.namespaced ?? true
  if (!isNamespaced || object.metadata.namespace !== undefined) return object
  return { ...object, metadata: { ...object.metadata, namespace } }
}

function resourceOf(client: KubeClient, { apiVersion, kind }: KubeObject): ResourceClient<KubeObject> {
  return client.object(apiVersion, kind)
}

async function read(client: KubeClient, object: KubeObject, signal?: AbortSignal): Promise<KubeObject | undefined> {
  const { name = '', namespace } = object.metadata
  try {
    return await resourceOf(client, object).get(name, { namespace, signal })
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

/** Two apps with a service of one name must not take turns at overwriting each other. */
function checkOwner(object: KubeObject, current: KubeObject | undefined): void {
  if (!current) return
  const [app, owner] = [object.metadata.labels?.[appLabel], current.metadata.labels?.[appLabel]]
  if (app === undefined || app === owner) return
  throw ownedByAnother(
    nameObject(object),
    owner === undefined ? 'no app of Fairlead, it was made by another tool' : `the app "${owner}"`,
  )
}

async function ensureNamespaces(
  client: KubeClient,
  objects: readonly KubeObject[],
  signal?: AbortSignal,
): Promise<void> {
  const names = new Set(objects.map(({ metadata }) => metadata.namespace).filter((name) => name !== undefined))
  for (const name of names) await ensureNamespace(client, name, signal)
}

async function applyOne(
  client: KubeClient,
  object: KubeObject,
  known: KubeObject | undefined,
  signal?: AbortSignal,
): Promise<Applied> {
  let current = known
  for (let attempt = 1; ; attempt++) {
    try {
      return current ? await update(client, object, current, signal) : await create(client, object, signal)
    } catch (error) {
      // Somebody else made, changed or deleted the object since it was read: look again.
      const isRace = isAlreadyExists(error) || isConflict(error) || (current !== undefined && isNotFound(error))
      if (!isRace || attempt === maxAttempts) throw error
      current = await read(client, object, signal)
      checkOwner(object, current)
    }
  }
}

async function create(client: KubeClient, object: KubeObject, signal?: AbortSignal): Promise<Applied> {
  const created = await resourceOf(client, object).create(annotate(object), { fieldManager: managerName, signal })
  return { action: 'created', object: created }
}

async function update(
  client: KubeClient,
  object: KubeObject,
  current: KubeObject,
  signal?: AbortSignal,
): Promise<Applied> {
  const definition = findKind(object.apiVersion, object.kind)?.definition
  const patch = createThreeWayMergePatch({
    original: parseLastApplied(current),
    modified: annotate(object),
    current,
    definition,
  })
  if (isEmpty(patch)) return { action: 'unchanged', object: current }
  const { name = '', namespace } = object.metadata
  const changed = await resourceOf(client, object).patch(
    name,
    { type: definition === undefined ? 'merge' : 'strategic', body: patch },
    { namespace, fieldManager: managerName, signal },
  )
  const isUnchanged = changed.metadata.resourceVersion === current.metadata.resourceVersion
  return { action: isUnchanged ? 'unchanged' : 'configured', object: changed }
}

/** An object nobody applied before has no original: nothing of it is removed. */
function parseLastApplied(current: KubeObject): KubeObject | undefined {
  const text = current.metadata.annotations?.[lastApplied]
  if (text === undefined) return undefined
  try {
    const original: KubeObject = JSON.parse(text)
    return original
  } catch {
    return undefined
  }
}

function annotate(object: KubeObject): KubeObject {
  const annotations = { ...object.metadata.annotations, [lastApplied]: `${JSON.stringify(object)}\n` }
  return { ...object, metadata: { ...object.metadata, annotations } }
}

function isEmpty(patch: unknown): boolean {
  return typeof patch === 'object' && patch !== null && Object.keys(patch).length === 0
}

/** Objects of the app that were applied before and are not among those desired now. */
async function listAbandoned(
  client: KubeClient,
  desired: readonly KubeObject[],
  app: string,
  { namespace = client.namespace, signal }: ApplyOptions,
): Promise<KubeObject[]> {
  const kept = new Set(desired.map((object) => `${nameObject(object)}.${object.metadata.namespace}`))
  const labelSelector = `${appLabel}=${app},${managedByLabel}=${managerName}`
  const namespaces = new Set([namespace, ...desired.map(({ metadata }) => metadata.namespace ?? namespace)])
  const abandoned: KubeObject[] = []
  for (const [apiVersion, kind] of prunedKinds) {
    for (const within of namespaces) {
      const { items } = await client.object(apiVersion, kind).list({ namespace: within, labelSelector, signal })
      abandoned.push(...items.filter((object) => !kept.has(`${nameObject(object)}.${object.metadata.namespace}`)))
    }
  }
  return abandoned.filter(
    ({ metadata }) => metadata.annotations?.[lastApplied] !== undefined && metadata.deletionTimestamp === undefined,
  )
}
