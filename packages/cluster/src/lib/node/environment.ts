import { parseQuantity } from '@fairlead/kube/types'
import type { ConfigMap, Container, Pod, ResourceFieldSelector, Secret } from '@fairlead/kube/types/core-v1'

import { configInvalid } from '../errors.ts'

/** Reads what a pod's environment and volumes refer to; undefined for what does not exist. */
export interface Sources {
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>
  secret(namespace: string, name: string): Promise<Secret | undefined>
}

/** What of a pod is known only on its node. */
export interface PodPlace {
  readonly podIp: string
  readonly hostIp: string
  readonly nodeName: string
  /** Capacity of the node, what a missing limit stands for. */
  readonly cpus: number
  readonly memoryBytes: number
}

/**
 * The environment of a container: `envFrom`, then `env` in order with `$(NAME)` expanded from what came before. Throws
 * `FAIRLEAD_CLUSTER_POD_CONFIG` for a reference to something that does not exist and is not optional.
 */
export async function createEnvironment(
  pod: Pod,
  container: Container,
  place: PodPlace,
  sources: Sources,
  initial: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  const namespace = pod.metadata?.namespace ?? 'default'
  const env: Record<string, string> = { ...initial }
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const data = configMapRef
      ? await readConfigMap(sources, namespace, configMapRef.name ?? '', configMapRef.optional)
      : await readSecret(sources, namespace, secretRef?.name ?? '', secretRef?.optional)
    for (const [key, value] of Object.entries(data ?? {})) env[`${prefix}${key}`] = value.toString('utf8')
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    const found = valueFrom
      ? await resolveValue(valueFrom, { pod, container, place, sources, namespace })
      : expand(value ?? '', env)
    if (found !== undefined) env[name] = found
  }
  return env
}

const accountDir = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * Where a plain process finds the token of its pod: the runtime gives a variable that names a mount the real place. In a
 * container the path itself is there.
 */
export function accountEnvironment(container: Container, kind: 'containers' | 'processes'): Record<string, string> {
  const hasToken = container.volumeMounts?.some(({ mountPath }) => mountPath === accountDir) ?? false
  return kind === 'processes' && hasToken ? { SERVICE_ACCOUNT_DIR: accountDir } : {}
}

interface ValueContext {
  readonly pod: Pod
  readonly container: Container
  readonly place: PodPlace
  readonly sources: Sources
  readonly namespace: string
}

type ValueSource = NonNullable<NonNullable<Container['env']>[number]['valueFrom']>

async function resolveValue(source: ValueSource, context: ValueContext): Promise<string | undefined> {
  const { pod, container, place, sources, namespace } = context
  const { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef } = source
  if (fieldRef) return readField(pod, fieldRef.fieldPath, place)
  if (resourceFieldRef) return readResource(pod, resourceFieldRef, container.name, place)
  const reference = configMapKeyRef ?? secretKeyRef
  if (!reference) throw configInvalid(`environment of container "${container.name}"`, 'a value source of unknown kind')
  const { key, name = '', optional } = reference
  const data = configMapKeyRef
    ? await readConfigMap(sources, namespace, name, optional)
    : await readSecret(sources, namespace, name, optional)
  const value = data !== undefined && Object.hasOwn(data, key) ? data[key] : undefined
  if (value === undefined && !optional) {
    const kind = configMapKeyRef ? 'ConfigMap' : 'Secret'
    throw configInvalid(`${kind} ${namespace}/${name}`, `couldn't find key ${key} in ${kind} ${namespace}/${name}`)
  }
  return value?.toString('utf8')
}

/** The data of a ConfigMap, text and binary; undefined when it is missing and may be. */
export async function readConfigMap(
  sources: Sources,
  namespace: string,
  name: string,
  optional: boolean | undefined,
): Promise<Record<string, Buffer> | undefined> {
  const found = await sources.configMap(namespace, name)
  if (!found && !optional) throw configInvalid(`ConfigMap ${namespace}/${name}`, `configmap "${name}" not found`)
  if (!found) return undefined
  const text = Object.entries(found.data ?? {}).map(([key, value]) => [key, Buffer.from(value)] as const)
  const binary = Object.entries(found.binaryData ?? {}).map(
    ([key, value]) => [key, Buffer.from(value, 'base64')] as const,
  )
  return Object.fromEntries([...text, ...binary])
}

/** The data of a Secret, decoded; undefined when it is missing and may be. */
export async function readSecret(
  sources: Sources,
  namespace: string,
  name: string,
  optional: boolean | undefined,
): Promise<Record<string, Buffer> | undefined> {
  const found = await sources.secret(namespace, name)
  if (!found && !optional) throw configInvalid(`Secret ${namespace}/${name}`, `secret "${name}" not found`)
  if (!found) return undefined
  return Object.fromEntries(Object.entries(found.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]))
}

/** Replaces `$(NAME)` by values of `env`; an unknown name stays as written, `$$(NAME)` stands for `$(NAME)`. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$(\$|\(([^()]*)\))/g, (whole, mark: string, name: string | undefined) => {
    if (mark === '$') return '$'
    return name === undefined ? whole : (env[name] ?? whole)
  })
}

/** A field of the pod for the downward API (Kubernetes, "Downward API"). */
export function readField(pod: Pod, path: string, place: PodPlace): string {
  const { metadata, spec } = pod
  const keyed = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path)
  if (keyed) return (keyed[1] === 'labels' ? metadata?.labels : metadata?.annotations)?.[keyed[2] ?? ''] ?? ''
  const fields: Readonly<Record<string, string | undefined>> = {
    'metadata.name': metadata?.name,
    'metadata.namespace': metadata?.namespace,
    'metadata.uid': metadata?.uid,
    'metadata.labels': renderPairs(metadata?.labels),
    'metadata.annotations': renderPairs(metadata?.annotations),
    'spec.nodeName': place.nodeName,
    'spec.serviceAccountName': spec?.serviceAccountName ?? 'default',
    'status.hostIP': place.hostIp,
    'status.hostIPs': place.hostIp,
    'status.podIP': place.podIp,
    'status.podIPs': place.podIp,
  }
  if (!Object.hasOwn(fields, path)) throw configInvalid(`field "${path}"`, 'the downward API does not offer this field')
  return fields[path] ?? ''
}

function renderPairs(pairs: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries(pairs).map(([key, value]) => `${key}=${JSON.stringify(value)}`)
  return lines.toSorted().join('\n')
}

/** A request or limit of a container, divided and rounded up; a missing limit is what the node has. */
export function readResource(pod: Pod, selector: ResourceFieldSelector, own: string, place: PodPlace): string {
  const wanted = selector.containerName ?? own
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])]
  const resources = all.find(({ name }) => name === wanted)?.resources
  const [kind = '', name = ''] = selector.resource.split('.')
  const amount =
    kind === 'limits' ? resources?.limits?.[name] : (resources?.requests?.[name] ?? resources?.limits?.[name])
  const whole = kind === 'limits' ? { cpu: place.cpus, memory: place.memoryBytes }[name] : 0
  const value = amount === undefined ? (whole ?? 0) : (parseQuantity(amount) ?? 0)
  const divisor = parseQuantity(selector.divisor ?? '1') ?? 1
  return String(Math.ceil(value / (divisor === 0 ? 1 : divisor)))
}
