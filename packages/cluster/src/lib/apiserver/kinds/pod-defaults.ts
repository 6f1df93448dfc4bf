import type {
  Container,
  LifecycleHandler,
  PersistentVolumeClaimSpec,
  PodSpec,
  Probe,
  ProjectedVolumeSource,
  Volume,
} from '@fairlead/kube/types/core-v1'

const defaultMode = 0o644

/** Fills in what upstream's v1 defaulting fills into every pod spec, in pods and in templates alike. */
export function defaultPodSpec(spec: PodSpec): void {
  spec.restartPolicy ??= 'Always'
  spec.terminationGracePeriodSeconds ??= 30
  spec.dnsPolicy ??= 'ClusterFirst'
  spec.securityContext ??= {}
  spec.schedulerName ??= 'default-scheduler'
  if (spec.serviceAccountName === undefined && spec.serviceAccount !== undefined) {
    spec.serviceAccountName = spec.serviceAccount
  } else if (spec.serviceAccountName !== undefined) spec.serviceAccount = spec.serviceAccountName
  for (const container of allContainers(spec)) defaultContainer(container, spec.hostNetwork === true)
  for (const volume of spec.volumes ?? []) defaultVolume(volume)
}

/** What only pods get, not templates: they are about to run. */
export function defaultRunningPod(spec: PodSpec): void {
  spec.enableServiceLinks ??= true
  for (const { resources } of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) {
    if (resources?.limits === undefined) continue
    resources.requests = { ...resources.limits, ...resources.requests }
  }
}

/** Containers of every sort; the ones of a debugger have the same fields. */
function allContainers(spec: PodSpec): Container[] {
  return [...(spec.initContainers ?? []), ...(spec.containers ?? []), ...(spec.ephemeralContainers ?? [])]
}

export function defaultClaimSpec(spec: PersistentVolumeClaimSpec): void {
  spec.volumeMode ??= 'Filesystem'
}

function defaultContainer(container: Container, isHostNetwork: boolean): void {
  container.resources ??= {}
  container.terminationMessagePath ??= '/dev/termination-log'
  container.terminationMessagePolicy ??= 'File'
  if ((container.imagePullPolicy ?? '') === '') container.imagePullPolicy = pullPolicy(container.image ?? '')
  for (const port of container.ports ?? []) {
    if ((port.protocol ?? '') === '') port.protocol = 'TCP'
    if (isHostNetwork && (port.hostPort ?? 0) === 0) port.hostPort = port.containerPort
  }
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef !== undefined) valueFrom.fieldRef.apiVersion ??= 'v1'
    if (valueFrom?.resourceFieldRef !== undefined) valueFrom.resourceFieldRef.divisor ??= '0'
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (probe !== undefined) defaultProbe(probe)
  }
  for (const handler of [container.lifecycle?.postStart, container.lifecycle?.preStop]) {
    if (handler !== undefined) defaultHandler(handler)
  }
}

/** An image without tag means `latest`, which may be another one tomorrow; a digest never is. */
function pullPolicy(image: string): string {
  if (image === '' || image.includes('@')) return 'IfNotPresent'
  const tag = /:([^/:]+)$/.exec(image)?.[1] ?? 'latest'
  return tag === 'latest' ? 'Always' : 'IfNotPresent'
}

/** Zero counts as unset: Go clients send it for fields nobody filled in. */
function defaultProbe(probe: Probe): void {
  probe.timeoutSeconds ||= 1
  probe.periodSeconds ||= 10
  probe.successThreshold ||= 1
  probe.failureThreshold ||= 3
  defaultHandler(probe)
  if (probe.grpc !== undefined) probe.grpc.service ??= ''
}

function defaultHandler({ httpGet }: LifecycleHandler | Probe): void {
  if (httpGet === undefined) return
  if ((httpGet.path ?? '') === '') httpGet.path = '/'
  if ((httpGet.scheme ?? '') === '') httpGet.scheme = 'HTTP'
}

function defaultVolume(volume: Volume): void {
  const { configMap, secret, downwardAPI, projected, hostPath, ephemeral, image } = volume
  for (const source of [configMap, secret, downwardAPI, projected]) {
    if (source !== undefined) source.defaultMode ??= defaultMode
  }
  for (const { fieldRef } of downwardAPI?.items ?? []) if (fieldRef !== undefined) fieldRef.apiVersion ??= 'v1'
  if (projected !== undefined) defaultProjected(projected)
  if (hostPath !== undefined) hostPath.type ??= ''
  if (image !== undefined && (image.pullPolicy ?? '') === '') image.pullPolicy = pullPolicy(image.reference ?? '')
  if (ephemeral?.volumeClaimTemplate !== undefined) defaultClaimSpec(ephemeral.volumeClaimTemplate.spec)
  if (Object.keys(volume).every((key) => key === 'name')) volume.emptyDir = {}
}

function defaultProjected(projected: ProjectedVolumeSource): void {
  for (const { serviceAccountToken, downwardAPI } of projected.sources ?? []) {
    if (serviceAccountToken !== undefined) serviceAccountToken.expirationSeconds ??= 3600
    for (const { fieldRef } of downwardAPI?.items ?? []) if (fieldRef !== undefined) fieldRef.apiVersion ??= 'v1'
  }
}
