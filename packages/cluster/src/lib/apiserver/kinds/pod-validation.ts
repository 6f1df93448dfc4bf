import { parseQuantity } from '@fairlead/kube/types'
import type {
  Container,
  EnvVar,
  LifecycleHandler,
  PodSpec,
  PodTemplateSpec,
  Probe,
  Volume,
} from '@fairlead/kube/types/core-v1'

import { duplicate, forbidden, invalid, nonNegative, notFound, oneOf, required } from './field-errors.ts'
import {
  dnsLabel,
  dnsSubdomain,
  environmentName,
  ianaServiceName,
  labelKey,
  labels,
  portNumber,
  portReference,
} from './names.ts'
import type { FieldError } from '../status.ts'

const protocols = ['TCP', 'UDP', 'SCTP']

/** What upstream would refuse in a pod spec; `path` is where it stands (`spec`, `spec.template.spec`). */
export function validatePodSpec(spec: PodSpec | undefined, path: string): FieldError[] {
  if (spec === undefined) return [required(`${path}.containers`)]
  const volumes = new Set((spec.volumes ?? []).map(({ name }) => name))
  const names = new Set<string>()
  const errors: FieldError[] = [
    ...(spec.volumes ?? []).flatMap((volume, index) => validateVolume(volume, `${path}.volumes[${index}]`)),
    ...duplicates(spec.volumes ?? [], ({ name }) => name, `${path}.volumes`, 'name'),
  ]
  if ((spec.containers ?? []).length === 0) errors.push(required(`${path}.containers`))
  for (const [list, containers] of containerLists(spec)) {
    for (const [index, container] of containers.entries()) {
      const place = `${path}.${list}[${index}]`
      errors.push(...validateContainer(container, place, volumes, list === 'initContainers'))
      if (names.has(container.name)) errors.push(duplicate(`${place}.name`, container.name))
      names.add(container.name)
    }
  }
  return [...errors, ...validatePodFields(spec, path)]
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

function containerLists(spec: PodSpec): [string, Container[]][] {
  return [
    ['initContainers', spec.initContainers ?? []],
    ['containers', spec.containers ?? []],
  ]
}

function validatePodFields(spec: PodSpec, path: string): FieldError[] {
  return [
    ...oneOf(`${path}.restartPolicy`, spec.restartPolicy, ['Always', 'OnFailure', 'Never']),
    ...oneOf(`${path}.dnsPolicy`, spec.dnsPolicy, ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None']),
    ...nonNegative(`${path}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds),
    ...(spec.activeDeadlineSeconds !== undefined && spec.activeDeadlineSeconds < 1
      ? [
          invalid(
            `${path}.activeDeadlineSeconds`,
            spec.activeDeadlineSeconds,
            'must be between 1 and 2147483647, inclusive',
          ),
        ]
      : []),
    ...named(`${path}.nodeName`, spec.nodeName, dnsSubdomain),
    ...named(`${path}.serviceAccountName`, spec.serviceAccountName, dnsSubdomain),
    ...named(`${path}.priorityClassName`, spec.priorityClassName, dnsSubdomain),
    ...named(`${path}.hostname`, spec.hostname, dnsLabel),
    ...named(`${path}.subdomain`, spec.subdomain, dnsLabel),
    ...labels(`${path}.nodeSelector`, spec.nodeSelector),
    ...(spec.dnsPolicy === 'None' && (spec.dnsConfig?.nameservers ?? []).length === 0
      ? [required(`${path}.dnsConfig.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None')]
      : []),
    ...(spec.tolerations ?? []).flatMap(({ key = '', operator, effect }, index) => {
      const place = `${path}.tolerations[${index}]`
      return [
        ...(key === '' ? [] : labelKey(`${place}.key`, key)),
        ...oneOf(`${place}.operator`, operator, ['Equal', 'Exists', 'Lt', 'Gt']),
        ...oneOf(`${place}.effect`, effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']),
      ]
    }),
    ...validateSysctls(spec, `${path}.securityContext.sysctls`),
  ]
}

const sysctlPattern = '([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?'
const sysctlName = new RegExp(`^${sysctlPattern}$`)

function validateSysctls({ securityContext }: PodSpec, path: string): FieldError[] {
  const sysctls = securityContext?.sysctls ?? []
  const names = sysctls.flatMap(({ name }, index) => {
    const place = `${path}[${index}].name`
    if (name === '') return [required(place)]
    if (name.length <= 253 && sysctlName.test(name)) return []
    return [invalid(place, name, `must have at most 253 characters and match regex ^${sysctlPattern}$`)]
  })
  return [...names, ...duplicates(sysctls, ({ name }) => name.replaceAll('/', '.'), path, 'name')]
}

function validateContainer(
  container: Container,
  path: string,
  volumes: ReadonlySet<string>,
  isInit: boolean,
): FieldError[] {
  const { name, image = '' } = container
  return [
    ...(name === '' ? [required(`${path}.name`)] : dnsLabel(`${path}.name`, name)),
    ...(image === '' ? [required(`${path}.image`)] : []),
    ...(image !== image.trim()
      ? [invalid(`${path}.image`, image, 'must not have leading or trailing whitespace')]
      : []),
    ...oneOf(`${path}.imagePullPolicy`, container.imagePullPolicy, ['Always', 'IfNotPresent', 'Never']),
    ...oneOf(`${path}.terminationMessagePolicy`, container.terminationMessagePolicy, ['File', 'FallbackToLogsOnError']),
    ...validatePorts(container, path),
    ...(container.env ?? []).flatMap((variable, index) => validateVariable(variable, `${path}.env[${index}]`)),
    ...(container.envFrom ?? []).flatMap(({ configMapRef, secretRef }, index) => {
      const place = `${path}.envFrom[${index}]`
      if (configMapRef === undefined && secretRef === undefined) {
        return [invalid(place, '', 'must specify one of: `configMapRef` or `secretRef`')]
      }
      if (configMapRef !== undefined && secretRef !== undefined) {
        return [invalid(place, '', 'may not have more than one field specified at a time')]
      }
      const reference = configMapRef === undefined ? 'secretRef' : 'configMapRef'
      return ((configMapRef ?? secretRef)?.name ?? '') === '' ? [required(`${place}.${reference}.name`)] : []
    }),
    ...validateMounts(container, path, volumes),
    ...validateResources(container, path),
    ...validateProbes(container, path, isInit),
  ]
}

function validatePorts({ ports = [] }: Container, path: string): FieldError[] {
  const names = ports.filter(({ name }) => (name ?? '') !== '')
  return [
    ...duplicates(names, ({ name }) => name ?? '', `${path}.ports`, 'name'),
    ...ports.flatMap((port, index) => {
      const place = `${path}.ports[${index}]`
      return [
        ...named(`${place}.name`, port.name, ianaServiceName),
        ...(port.containerPort === undefined || port.containerPort === 0
          ? [required(`${place}.containerPort`)]
          : portNumber(`${place}.containerPort`, port.containerPort)),
        ...((port.hostPort ?? 0) === 0 ? [] : portNumber(`${place}.hostPort`, port.hostPort ?? 0)),
        ...oneOf(`${place}.protocol`, port.protocol, protocols),
      ]
    }),
  ]
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

function validateMounts({ volumeMounts = [] }: Container, path: string, volumes: ReadonlySet<string>): FieldError[] {
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

function validateResources({ resources }: Container, path: string): FieldError[] {
  const errors: FieldError[] = []
  for (const part of ['limits', 'requests'] as const) {
    for (const [name, value] of Object.entries(resources?.[part] ?? {})) {
      if ((parseQuantity(value) ?? 0) < 0) {
        errors.push(invalid(`${path}.resources.${part}[${name}]`, value, 'must be greater than or equal to 0'))
      }
    }
  }
  for (const [name, request] of Object.entries(resources?.requests ?? {})) {
    const limit = resources?.limits?.[name]
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
