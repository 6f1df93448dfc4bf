import type { KubeObject } from '@fairlead/kube/types'
import type { FlowSchema, FlowSchemaCondition } from '@fairlead/kube/types/flowcontrol-v1'

import { renderTime } from '../metadata.ts'
import type { Registry } from '../registry.ts'
import { knownResource, readObject } from '../resource.ts'
import { StatusError } from '../status.ts'

type Schema = KubeObject & FlowSchema

const group = 'flowcontrol.apiserver.k8s.io'
const schemas = knownResource(group, 'v1', 'flowschemas')
const levels = knownResource(group, 'v1', 'prioritylevelconfigurations')
const writer = {
  manager: 'api-priority-and-fairness-config-consumer-v1',
  apiVersion: `${group}/v1`,
  subresource: 'status',
}
/** Many changes in a row are looked at once. */
const pauseMs = 100

/** Says of every flow schema whether the level it names is there; returns how to end it. */
export function followDangling(registry: Registry, now: () => number, onError: (error: unknown) => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const schedule = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      reviewDangling(registry, now).catch(onError)
    }, pauseMs).unref()
  }
  const followed = [schemas, levels].map(({ collection }) => registry.store.subscribe(collection, undefined, schedule))
  return () => {
    clearTimeout(timer)
    for (const subscription of followed) subscription.unsubscribe()
  }
}

/** Writes the conditions that are other than they should be. */
export async function reviewDangling(registry: Registry, now: () => number): Promise<void> {
  const listed = [...registry.store.list(schemas.collection)].map((entry) => readObject(schemas, entry))
  const wrong = listed.filter((schema) => conditionOf(registry, schema as Schema, now) !== undefined)
  await Promise.all(wrong.map(({ metadata }) => write(registry, metadata.name ?? '', now)))
}

/** The condition of a schema that has another one, or none; undefined when it says so already. */
export function decideDangling(
  { spec, status }: FlowSchema,
  isThere: boolean,
  now: number,
): FlowSchemaCondition | undefined {
  const known = status?.conditions?.find(({ type }) => type === 'Dangling')
  const name = JSON.stringify(spec?.priorityLevelConfiguration.name)
  const which = `This FlowSchema references the PriorityLevelConfiguration object named ${name}`
  const found = isThere
    ? { status: 'False', reason: 'Found', message: `${which} and it exists` }
    : { status: 'True', reason: 'NotFound', message: `${which} but there is no such object` }
  if (known?.status === found.status && known.reason === found.reason && known.message === found.message) {
    return undefined
  }
  const isSame = known?.status === found.status
  const lastTransitionTime = (isSame ? known?.lastTransitionTime : undefined) ?? renderTime(now)
  return { type: 'Dangling', lastTransitionTime, ...found }
}

function conditionOf(registry: Registry, schema: Schema, now: () => number): FlowSchemaCondition | undefined {
  const name = schema.spec?.priorityLevelConfiguration.name ?? ''
  return decideDangling(schema, registry.store.get(levels.collection, name) !== undefined, now())
}

async function write(registry: Registry, name: string, now: () => number): Promise<void> {
  const options = { namespace: '', name, part: 'status', isDryRun: false, ownership: { writer } } as const
  try {
    await registry.update(schemas, options, (current) => {
      const condition = conditionOf(registry, current as Schema, now)
      if (condition === undefined) return current
      const others = ((current as Schema).status?.conditions ?? []).filter(({ type }) => type !== 'Dangling')
      return { ...current, status: { ...(current as Schema).status, conditions: [...others, condition] } }
    })
  } catch (error) {
    // It is gone: nobody asks any more.
    if (!(error instanceof StatusError) || error.status.code !== 404) throw error
  }
}
