import type { KubeObject, ObjectMeta } from '@fairlead/kube/types'
import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'

import type { Store } from '../../../storage/store.ts'
import { notSupported } from '../../kinds/field-errors.ts'
import { knownResource } from '../../resource.ts'
import { forbiddenObject, invalid } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'
import type { Write } from '../write.ts'
import { violations } from './checks.ts'
import type { Level } from './checks.ts'

const namespaces = knownResource('', 'v1', 'namespaces')
const prefix = 'pod-security.kubernetes.io/'
const levels = ['baseline', 'privileged', 'restricted']
const modes = ['enforce', 'audit', 'warn']

/** PodSecurity admission: what the labels of a namespace ask of the pods in it. */
export class PodSecurity {
  readonly #namespaces: KeptObjects<KubeObject>

  constructor(store: Store) {
    this.#namespaces = new KeptObjects(store, namespaces)
  }

  /** Throws 403 for a pod the namespace does not let in; others, and templates of pods, are warned about. */
  judge({ resource, object, options }: Write): void {
    const labels = this.#namespaces.get('', object.metadata.namespace ?? '')?.metadata.labels
    const policies = labels === undefined ? [] : modes.flatMap((mode) => policyOf(labels, mode))
    if (policies.length === 0) return
    const found = templateOf(object)
    if (found === undefined) return
    const notes = options.scope?.notes
    for (const { mode, level, version } of policies) {
      if (mode === 'enforce' && object.kind !== 'Pod') continue
      const faults = violations(level, found.spec, found.metadata)
      if (faults.length === 0) continue
      const why = `violate PodSecurity "${level}:${version}": ${faults.join(', ')}`
      if (mode === 'enforce') {
        throw forbiddenObject(resource.info, object.metadata.name ?? '', why.replace('violate', 'violates'))
      }
      if (mode === 'warn') notes?.warn(`would ${why}`)
      else notes?.annotate('pod-security.kubernetes.io/audit-violations', `would ${why}`)
    }
  }

  /** A level nobody knows would let everything in. */
  checkLabels({ metadata }: KubeObject): void {
    const errors = modes.flatMap((mode) => {
      const value = metadata.labels?.[prefix + mode]
      return value === undefined || levels.includes(value)
        ? []
        : [notSupported(`metadata.labels[${prefix}${mode}]`, value, levels)]
    })
    if (errors.length > 0) throw invalid(namespaces.info, metadata.name ?? '', errors)
  }
}

function policyOf(
  labels: Readonly<Record<string, string>>,
  mode: string,
): { mode: string; level: Level; version: string }[] {
  const level = labels[prefix + mode]
  if (level !== 'baseline' && level !== 'restricted') return []
  return [{ mode, level, version: labels[`${prefix}${mode}-version`] ?? 'latest' }]
}

interface Template {
  readonly metadata: ObjectMeta
  readonly spec: PodSpec
}

/** The pod in an object, or the pods it will make. */
function templateOf(object: KubeObject): Template | undefined {
  const { spec } = object as {
    spec?: { template?: Partial<Template>; jobTemplate?: { spec?: { template?: Partial<Template> } } }
  }
  if (object.kind === 'Pod') {
    const pod = object as KubeObject & Pod
    return pod.spec === undefined ? undefined : { metadata: pod.metadata, spec: pod.spec }
  }
  const template = spec?.template ?? spec?.jobTemplate?.spec?.template
  return template?.spec === undefined ? undefined : { metadata: template.metadata ?? {}, spec: template.spec }
}
