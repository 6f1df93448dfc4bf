import type { KubeObject, ObjectMeta } from '@fairlead/kube/types'
import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'

import type { Store } from '../../../storage/store.ts'
import { invalid as invalidValue } from '../../kinds/field-errors.ts'
import { knownResource } from '../../resource.ts'
import { forbiddenObject, invalid } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'
import type { Write } from '../write.ts'
import { violations } from './checks.ts'
import type { Level } from './checks.ts'

const namespaces = knownResource('', 'v1', 'namespaces')
const prefix = 'pod-security.kubernetes.io/'
const levels = ['privileged', 'baseline', 'restricted']
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
    const policies = labels === undefined ? [] : policiesOf(labels)
    if (policies.length === 0) return
    const found = templateOf(object)
    if (found === undefined) return
    const notes = options.scope?.notes
    for (const { mode, level, version } of policies) {
      if (mode === 'enforce' && object.kind !== 'Pod') continue
      if (mode === 'enforce') notes?.annotate(`${prefix}enforce-policy`, `${level}:${version}`)
      const faults = violations(level, found.spec, found.metadata, minorOf(version))
      if (faults.length === 0) continue
      const why = `violate PodSecurity "${level}:${version}": ${faults.join(', ')}`
      if (mode === 'enforce') {
        throw forbiddenObject(resource.info, object.metadata.name ?? '', why.replace('violate', 'violates'))
      }
      if (mode === 'warn') notes?.warn(`would ${why}`)
      else notes?.annotate(`${prefix}audit-violations`, `would ${why}`)
    }
  }

  /** A level or version nobody knows would let everything in. */
  checkLabels({ metadata }: KubeObject): void {
    const errors = modes.flatMap((mode) => {
      const level = metadata.labels?.[prefix + mode] ?? 'privileged'
      const version = metadata.labels?.[`${prefix}${mode}-version`] ?? 'latest'
      const field = `metadata.labels[${prefix}${mode}`
      return [
        ...(levels.includes(level) ? [] : [invalidValue(`${field}]`, level, `must be one of ${levels.join(', ')}`)]),
        ...(minorOf(version) === undefined
          ? [invalidValue(`${field}-version]`, version, 'must be "latest" or "v1.x"')]
          : []),
      ]
    })
    if (errors.length > 0) throw invalid(namespaces.info, metadata.name ?? '', errors)
  }
}

interface Policy {
  readonly mode: string
  readonly level: Level
  readonly version: string
}

/** What a namespace asks for. Who only enforces is warned as well, so that templates are told of before their pods. */
function policiesOf(labels: Readonly<Record<string, string>>): Policy[] {
  const [enforce, audit, warn] = modes.map((mode) => policyOf(labels, mode))
  const version = labels[`${prefix}warn-version`] ?? enforce?.version ?? 'latest'
  const isSilent = warn === undefined && labels[`${prefix}warn`] === undefined
  const warned = isSilent && enforce !== undefined ? { ...enforce, mode: 'warn', version } : warn
  return [enforce, audit, warned].filter((policy) => policy !== undefined)
}

function policyOf(labels: Readonly<Record<string, string>>, mode: string): Policy | undefined {
  const level = labels[prefix + mode]
  if (level !== 'baseline' && level !== 'restricted') return undefined
  return { mode, level, version: labels[`${prefix}${mode}-version`] ?? 'latest' }
}

/** `v1.29`: 29; undefined for what is no version. */
function minorOf(version: string): number | undefined {
  if (version === 'latest') return Infinity
  const minor = /^v1\.([0-9]|[1-9][0-9]*)$/.exec(version)?.[1]
  return minor === undefined ? undefined : Number(minor)
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
