import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { Environment } from '../lifecycle/resource.ts'
import { randomHex } from '../trace/ids.ts'
import type { ResourceAttributes } from './spans.ts'

export interface ResourceOptions {
  readonly name?: string | undefined
  readonly version?: string | undefined
  /** `deployment.environment.name`. */
  readonly environment?: string | undefined
  /** Win over everything else. */
  readonly attributes?: Readonly<Record<string, string | number | boolean>> | undefined
  /** Text of a file below /proc, undefined when there is none. For tests. */
  readonly readProc?: ((path: string) => string | undefined) | undefined
}

/**
 * What this process is, for OTLP: `service.*`, `deployment.environment.name`, `host.*`, `process.*`, `container.id` (from the
 * cgroup), `k8s.*` (from POD_NAME, POD_NAMESPACE, POD_UID, NODE_NAME, CONTAINER_NAME of the downward API), `telemetry.sdk.*`.
 * OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over what is found, `options.attributes` over them.
 */
export function detectResource(env: Environment, options: ResourceOptions = {}): ResourceAttributes {
  const found = new Map<string, unknown>()
  const set = (key: string, value: unknown): void => {
    if (value !== undefined && value !== '') found.set(key, value)
  }
  set('service.name', options.name ?? `unknown_service:${process.release.name}`)
  set('service.version', options.version)
  set('service.namespace', env['POD_NAMESPACE'])
  set('deployment.environment.name', options.environment)
  set('host.name', hostname())
  set('host.arch', archNames[process.arch] ?? process.arch)
  set('process.pid', process.pid)
  set('process.executable.path', process.execPath)
  set('process.runtime.name', 'nodejs')
  set('process.runtime.version', process.versions.node)
  set('process.runtime.description', 'Node.js')
  set('container.id', containerId(options.readProc ?? readText))
  if (env['KUBERNETES_SERVICE_HOST'] !== undefined) addKubernetes(env, set)
  set('telemetry.sdk.name', 'fairlead')
  set('telemetry.sdk.language', 'nodejs')
  set('telemetry.sdk.version', sdkVersion)
  for (const [key, value] of readAttributes(env['OTEL_RESOURCE_ATTRIBUTES'])) set(key, value)
  set('service.name', env['OTEL_SERVICE_NAME']?.trim())
  for (const [key, value] of Object.entries(options.attributes ?? {})) set(key, value)
  if (!found.has('service.instance.id')) set('service.instance.id', instanceId(found))
  return [...found].flat()
}

/** Kept with the version in package.json by a test. */
export const sdkVersion = '0.1.0'

const archNames: Readonly<Record<string, string>> = { x64: 'amd64', ia32: 'x86', arm: 'arm32', ppc64: 'ppc64' }

function addKubernetes(env: Environment, set: (key: string, value: unknown) => void): void {
  // In a pod the host name is the pod's, unless somebody has changed it.
  set('k8s.pod.name', env['POD_NAME'] ?? env['HOSTNAME'])
  set('k8s.pod.uid', env['POD_UID'])
  set('k8s.pod.ip', env['POD_IP'])
  set('k8s.namespace.name', env['POD_NAMESPACE'])
  set('k8s.node.name', env['NODE_NAME'])
  set('k8s.container.name', env['CONTAINER_NAME'])
}

/** Tells instances of a service apart. Pods of a name come again (StatefulSet), so the name alone would not do. */
function instanceId(found: ReadonlyMap<string, unknown>): string {
  const id = found.get('k8s.pod.uid') ?? found.get('container.id')
  return typeof id === 'string' ? id : randomHex(16)
}

/** `key=value` pairs with commas between them, percent-encoded (resource SDK specification). What is not valid is left out. */
function readAttributes(text: string | undefined): [string, string][] {
  const pairs: [string, string][] = []
  for (const pair of text?.split(',') ?? []) {
    const equals = pair.indexOf('=')
    if (equals < 1) continue
    try {
      pairs.push([decodeURIComponent(pair.slice(0, equals).trim()), decodeURIComponent(pair.slice(equals + 1).trim())])
    } catch {
      // One that is written wrongly must not cost the others.
    }
  }
  return pairs
}

/**
 * The 64 digits by which container runtimes name a container: in the cgroup's path (version 1, and version 2 without a
 * namespace of its own), else in the paths of what is mounted from the container's folder.
 */
function containerId(read: (path: string) => string | undefined): string | undefined {
  const inCgroup = /(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?$/m.exec(read('/proc/self/cgroup') ?? '')
  if (inCgroup) return inCgroup[1]
  const line = (read('/proc/self/mountinfo') ?? '').split('\n').find((mount) => / \/etc\/hostname /.test(mount))
  return line === undefined
    ? undefined
    : /\/(?:containers|sandboxes|overlay-containers)\/([0-9a-f]{64})\//.exec(line)?.[1]
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
