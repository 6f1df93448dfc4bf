import { parseQuantity } from '@fairlead/kube/types'
import type {
  Container,
  EnvFromSource,
  EnvVar,
  LifecycleHandler,
  PodSpec,
  PodTemplateSpec,
  Probe,
  ResourceRequirements,
  Volume,
  VolumeMount,
} from '@fairlead/kube/types/core-v1'

import { duplicate, forbidden, invalid, nonNegative, notFound, oneOf, required } from './field-errors.ts'
import { dnsLabel, dnsSubdomain, environmentName, ianaServiceName, labels, portNumber, portReference } from './names.ts'
import { validateTolerations } from './tolerations.ts'
import type { FieldError } from '../status.ts'

const protocols = ['TCP', 'UDP', 'SCTP']

/** What upstream would refuse in a pod spec; `path` is where it stands (`spec`, `spec.template.spec`). */
export function validatePodSpec(spec: PodSpec | undefined, path: string): FieldError[] {
  if (spec === undefined) return [required(`${path}.containers`)]
  const errors: FieldError[] = []
  const { volumes = [], initContainers = [] } = spec
  const containers = spec.containers ?? []
  volumes.forEach((volume, index) => add(errors, validateVolume(volume, `${path}.volumes[${index}]`)))
  add(errors, duplicates(volumes, nameOf, `${path}.volumes`, 'name'))
  if (containers.length === 0) errors.push(required(`${path}.containers`))
  const names = new Set<string>()
  for (const [list, each] of [
    ['initContainers', initContainers],
    ['containers', containers],
  ] as const) {
    each.forEach((container, index) => {
      const place = `${path}.${list}[${index}]`
      validateContainer(container, place, volumes, list === 'initContainers', errors)
      if (names.has(container.name)) errors.push(duplicate(`${place}.name`, container.name))
      names.add(container.name)
    })
  }
  validatePodFields(spec, path, errors)
  return errors
}

/** Nearly every write is right: what finds nothing must cost nothing, so findings are added to one list. */
function add(errors: FieldError[], found: readonly FieldError[]): void {
  for (const error of found) errors.push(error)
}

function nameOf({ name }: { name: string }): string {
  return name
}

/** A template: its labels, its spec, and that it restarts its containers as its owner needs. */
export function validatePodTemplate(
  template: PodTemplateSpec | undefined,
  path: string,
  restartPolicies: readonly string[],
): FieldError[] {
  const policy = template?.spec?.restartPolicy
  const errors = [
    ...labels(`${path}.metadata.labels`, template?.metadata?.labels),
    ...validatePodSpec(template?.spec, `${path}.spec`),
  ]
  return policy === undefined || policy === ''
    ? errors
    : [...errors, ...oneOf(`${path}.spec.restartPolicy`, policy, restartPolicies)]
}

const podRestartPolicies = ['Always', 'OnFailure', 'Never']
const dnsPolicies = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None']

function validatePodFields(spec: PodSpec, path: string, errors: FieldError[]): void {
  add(errors, oneOf(`${path}.restartPolicy`, spec.restartPolicy, podRestartPolicies))
  add(errors, oneOf(`${path}.dnsPolicy`, spec.dnsPolicy, dnsPolicies))
  add(errors, nonNegative(`${path}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds))
  const { activeDeadlineSeconds, dnsPolicy, dnsConfig } = spec
  if (activeDeadlineSeconds !== undefined && activeDeadlineSeconds < 1) {
    const why = 'must be between 1 and 2147483647, inclusive'
    errors.push(invalid(`${path}.activeDeadlineSeconds`, activeDeadlineSeconds, why))
  }
  add(errors, named(`${path}.nodeName`, spec.nodeName, dnsSubdomain))
  add(errors, named(`${path}.serviceAccountName`, spec.serviceAccountName, dnsSubdomain))
  add(errors, named(`${path}.priorityClassName`, spec.priorityClassName, dnsSubdomain))
  add(errors, named(`${path}.hostname`, spec.hostname, dnsLabel))
  add(errors, named(`${path}.subdomain`, spec.subdomain, dnsLabel))
  if (spec.nodeSelector !== undefined) add(errors, labels(`${path}.nodeSelector`, spec.nodeSelector))
  if (dnsPolicy === 'None' && (dnsConfig?.nameservers ?? []).length === 0) {
    const why = 'must provide at least one DNS nameserver when `dnsPolicy` is None'
    errors.push(required(`${path}.dnsConfig.nameservers`, why))
  }
  if (spec.tolerations !== undefined) add(errors, validateTolerations(spec.tolerations, `${path}.tolerations`))
  add(errors, validateSysctls(spec, `${path}.securityContext.sysctls`))
}

const sysctlPattern = '([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?'
const sysctlName = new RegExp(`^${sysctlPattern}$`)

function validateSysctls({ securityContext }: PodSpec, path: string): FieldError[] {
  const sysctls = securityContext?.sysctls
  if (sysctls === undefined) return []
  const names = sysctls.flatMap(({ name }, index) => {
    const place = `${path}[${index}].name`
    if (name === '') return [required(place)]
    if (name.length <= 253 && sysctlName.test(name)) return []
    return [invalid(place, name, `must have at most 253 characters and match regex ^${sysctlPattern}$`)]
  })
  return [...names, ...duplicates(sysctls, ({ name }) => name.replaceAll('/', '.'), path, 'name')]
}

const pullPolicies = ['Always', 'IfNotPresent', 'Never']
const messagePolicies = ['File', 'FallbackToLogsOnError']

function validateContainer(
  container: Container,
  path: string,
  volumes: readonly Volume[],
  isInit: boolean,
  errors: FieldError[],
): void {
  const { name, image = '', env, envFrom, volumeMounts } = container
  add(errors, name === '' ? [required(`${path}.name`)] : dnsLabel(`${path}.name`, name))
  if (image === '') errors.push(required(`${path}.image`))
  if (image !== image.trim()) {
    errors.push(invalid(`${path}.image`, image, 'must not have leading or trailing whitespace'))
  }
  add(errors, oneOf(`${path}.imagePullPolicy`, container.imagePullPolicy, pullPolicies))
  add(errors, oneOf(`${path}.terminationMessagePolicy`, container.terminationMessagePolicy, messagePolicies))
  validatePorts(container, path, errors)
  env?.forEach((variable, index) => add(errors, validateVariable(variable, `${path}.env[${index}]`)))
  envFrom?.forEach((source, index) => add(errors, validateSource(source, `${path}.envFrom[${index}]`)))
  if (volumeMounts !== undefined) add(errors, validateMounts(volumeMounts, path, volumes))
  if (container.resources !== undefined) add(errors, validateResources(container.resources, path))
  add(errors, validateProbes(container, path, isInit))
}

function validateSource({ configMapRef, secretRef }: EnvFromSource, path: string): FieldError[] {
  if (configMapRef === undefined && secretRef === undefined) {
    return [invalid(path, '', 'must specify one of: `configMapRef` or `secretRef`')]
  }
  if (configMapRef !== undefined && secretRef !== undefined) {
    return [invalid(path, '', 'may not have more than one field specified at a time')]
  }
  const reference = configMapRef === undefined ? 'secretRef' : 'configMapRef'
  return ((configMapRef ?? secretRef)?.name ?? '') === '' ? [required(`${path}.${reference}.name`)] : []
}

function validatePorts({ ports = [] }: Container, path: string, errors: FieldError[]): void {
  if (ports.length > 1) {
    const names = ports.filter(({ name }) => (name ?? '') !== '')
    add(
      errors,
      duplicates(names, ({ name }) => name ?? '', `${path}.ports`, 'name'),
    )
  }
  ports.forEach(({ name, containerPort, hostPort = 0, protocol }, index) => {
    const place = `${path}.ports[${index}]`
    add(errors, named(`${place}.name`, name, ianaServiceName))
    if ((containerPort ?? 0) === 0) errors.push(required(`${place}.containerPort`))
    else add(errors, portNumber(`${place}.containerPort`, containerPort))
    if (hostPort !== 0) add(errors, portNumber(`${place}.hostPort`, hostPort))
    add(errors, oneOf(`${place}.protocol`, protocol, protocols))
  })
}

function validateVariable({ name, value, valueFrom }: EnvVar, path: string): FieldError[] {
  const errors = environmentName(`${path}.name`, name)
  if (valueFrom === undefined) return errors
  if ((value ?? '') !== '') {
    errors.push(invalid(`${path}.valueFrom`, '', 'may not be specified when `value` is not empty'))
  }
  const sources = Object.entries(valueFrom).filter(([, source]) => source !== undefined)
  if (sources.length !== 1) {
    const why =
      sources.length === 0
        ? 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`'
        : 'may not have more than one field specified at a time'
    errors.push(invalid(`${path}.valueFrom`, '', why))
  }
  for (const key of ['configMapKeyRef', 'secretKeyRef'] as const) {
    const reference = valueFrom[key]
    if (reference === undefined) continue
    if ((reference.name ?? '') === '') errors.push(required(`${path}.valueFrom.${key}.name`))
    if ((reference.key ?? '') === '') errors.push(required(`${path}.valueFrom.${key}.key`))
  }
  if (valueFrom.fieldRef?.fieldPath === '') errors.push(required(`${path}.valueFrom.fieldRef.fieldPath`))
  return errors
}

function validateMounts(volumeMounts: readonly VolumeMount[], path: string, listed: readonly Volume[]): FieldError[] {
  const volumes = new Set(listed.map(nameOf))
  const seen = new Set<string>()
  return volumeMounts.flatMap(({ name, mountPath, subPath = '' }, index) => {
    const place = `${path}.volumeMounts[${index}]`
    const errors: FieldError[] = []
    if (name === '') errors.push(required(`${place}.name`))
    else if (!volumes.has(name)) errors.push(notFound(`${place}.name`, name))
    if (mountPath === '') errors.push(required(`${place}.mountPath`))
    else if (seen.has(mountPath)) errors.push(invalid(`${place}.mountPath`, mountPath, 'must be unique'))
    seen.add(mountPath)
    if (subPath.startsWith('/')) errors.push(invalid(`${place}.subPath`, subPath, 'must be a relative path'))
    if (subPath.split('/').includes('..')) errors.push(invalid(`${place}.subPath`, subPath, "must not contain '..'"))
    return errors
  })
}

function validateResources(resources: ResourceRequirements, path: string): FieldError[] {
  const errors: FieldError[] = []
  const { limits = {}, requests = {} } = resources
  for (const part of ['limits', 'requests'] as const) {
    for (const [name, value] of Object.entries(part === 'limits' ? limits : requests)) {
      if ((parseQuantity(value) ?? 0) < 0) {
        errors.push(invalid(`${path}.resources.${part}[${name}]`, value, 'must be greater than or equal to 0'))
      }
    }
  }
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name]
    if (limit !== undefined && (parseQuantity(request) ?? 0) > (parseQuantity(limit) ?? 0)) {
      errors.push(
        invalid(`${path}.resources.requests`, request, `must be less than or equal to ${name} limit of ${limit}`),
      )
    }
  }
  return errors
}

function validateProbes(container: Container, path: string, isInit: boolean): FieldError[] {
  const errors: FieldError[] = []
  const isSidecar = isInit && container.restartPolicy === 'Always'
  for (const key of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = container[key]
    if (probe === undefined) continue
    if (isInit && !isSidecar)
      errors.push(forbidden(`${path}.${key}`, 'may not be set for init containers without restartPolicy=Always'))
    errors.push(...validateProbe(probe, `${path}.${key}`, key))
  }
  for (const key of ['postStart', 'preStop'] as const) {
    const handler = container.lifecycle?.[key]
    if (handler !== undefined) errors.push(...validateHandler(handler, `${path}.lifecycle.${key}`))
  }
  return errors
}

function validateProbe(probe: Probe, path: string, key: string): FieldError[] {
  return [
    ...validateHandler(probe, path),
    ...nonNegative(`${path}.initialDelaySeconds`, probe.initialDelaySeconds),
    ...nonNegative(`${path}.timeoutSeconds`, probe.timeoutSeconds),
    ...nonNegative(`${path}.periodSeconds`, probe.periodSeconds),
    ...nonNegative(`${path}.failureThreshold`, probe.failureThreshold),
    ...nonNegative(`${path}.successThreshold`, probe.successThreshold),
    ...(key !== 'readinessProbe' && (probe.successThreshold ?? 1) !== 1
      ? [invalid(`${path}.successThreshold`, probe.successThreshold, 'must be 1')]
      : []),
  ]
}

function validateHandler(handler: LifecycleHandler | Probe, path: string): FieldError[] {
  const { exec, httpGet, tcpSocket } = handler
  const grpc = 'grpc' in handler ? handler.grpc : undefined
  const sleep = 'sleep' in handler ? handler.sleep : undefined
  const given = [exec, httpGet, tcpSocket, grpc, sleep].filter((action) => action !== undefined)
  if (given.length === 0) return [required(path, 'must specify a handler type')]
  if (given.length > 1) return [forbidden(path, 'may not specify more than 1 handler type')]
  if (exec !== undefined && (exec.command ?? []).length === 0) return [required(`${path}.exec.command`)]
  if (httpGet !== undefined) {
    return [
      ...portReference(`${path}.httpGet.port`, httpGet.port ?? 0),
      ...oneOf(`${path}.httpGet.scheme`, httpGet.scheme, ['HTTP', 'HTTPS']),
    ]
  }
  if (tcpSocket !== undefined) return portReference(`${path}.tcpSocket.port`, tcpSocket.port ?? 0)
  return grpc === undefined ? [] : portNumber(`${path}.grpc.port`, grpc.port ?? 0)
}

function validateVolume(volume: Volume, path: string): FieldError[] {
  const { name, configMap, secret, hostPath, persistentVolumeClaim, ...others } = volume
  const sources = Object.entries({ configMap, secret, hostPath, persistentVolumeClaim, ...others }).filter(
    ([, source]) => source !== undefined,
  )
  const errors = name === '' ? [required(`${path}.name`)] : dnsLabel(`${path}.name`, name)
  for (const [key] of sources.slice(1))
    errors.push(forbidden(`${path}.${key}`, 'may not specify more than 1 volume type'))
  if (configMap !== undefined && (configMap.name ?? '') === '') errors.push(required(`${path}.configMap.name`))
  if (secret !== undefined && (secret.secretName ?? '') === '') errors.push(required(`${path}.secret.secretName`))
  if (hostPath?.path === '') errors.push(required(`${path}.hostPath.path`))
  if (persistentVolumeClaim?.claimName === '') errors.push(required(`${path}.persistentVolumeClaim.claimName`))
  for (const [key, source] of [
    ['configMap', configMap],
    ['secret', secret],
  ] as const) {
    const mode = source?.defaultMode
    if (mode !== undefined && (mode < 0 || mode > 0o777)) {
      errors.push(
        invalid(`${path}.${key}.defaultMode`, mode, 'must be a number between 0 and 0777 (octal), both inclusive'),
      )
    }
  }
  return errors
}

function duplicates<T>(list: readonly T[], key: (element: T) => string, path: string, field: string): FieldError[] {
  if (list.length < 2) return []
  const seen = new Set<string>()
  return list.flatMap((element, index) => {
    const value = key(element)
    if (seen.has(value)) return [duplicate(`${path}[${index}].${field}`, value)]
    seen.add(value)
    return []
  })
}

function named(
  field: string,
  value: string | undefined,
  rule: (field: string, value: string) => FieldError[],
): FieldError[] {
  return value === undefined || value === '' ? [] : rule(field, value)
}
