import type { Container, PodSpec } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { duplicate, invalid, notSupported, oneOf, required, unsupported } from '../field-errors.ts'
import { dnsLabel, ianaServiceName, portNumber } from '../names.ts'
import { validateEnvironment, validateEnvironmentSources } from './environment.ts'
import { validateMounts } from './mounts.ts'
import { validateLife } from './probes.ts'
import { validateResizePolicies, validateResources } from './resources.ts'
import { validateSecurity } from './security.ts'

/** Containers of a pod, those that run first among them. */
export function validateContainers(spec: PodSpec, path: string, errors: FieldError[]): void {
  const { initContainers } = spec
  const containers = spec.containers ?? []
  const names = new Set<string>()
  const ports = new Set<string>()
  containers.forEach((container, index) => {
    const place = `${path}.containers[${index}]`
    validateContainer(container, 'other', spec, place, errors)
    validateName(container.name, names, place, errors)
    validateHostPorts(container, ports, place, errors)
  })
  if (containers.length === 0) errors.push(required(`${path}.containers`))
  initContainers?.forEach((container, index) => {
    const place = `${path}.initContainers[${index}]`
    validateContainer(container, 'init', spec, place, errors)
    validateName(container.name, names, place, errors)
    validateHostPorts(container, new Set(), place, errors)
  })
}

function validateName(name: string, names: Set<string>, path: string, errors: FieldError[]): void {
  if (names.has(name)) errors.push(duplicate(`${path}.name`, name))
  names.add(name)
}

const pullPolicies = ['Always', 'IfNotPresent', 'Never']
const messagePolicies = ['File', 'FallbackToLogsOnError']
const defaultGraceSeconds = 30

function validateContainer(
  container: Container,
  kind: 'init' | 'other',
  spec: PodSpec,
  path: string,
  errors: FieldError[],
): void {
  const { name, image = '', env, envFrom, resources, securityContext, resizePolicy } = container
  const { volumes = [], resourceClaims = [], terminationGracePeriodSeconds: grace = defaultGraceSeconds } = spec
  for (const error of name === '' ? [required(`${path}.name`)] : dnsLabel(`${path}.name`, name)) errors.push(error)
  if (image === '') errors.push(required(`${path}.image`))
  const { imagePullPolicy: pulls, terminationMessagePolicy: tells = '' } = container
  if (pulls !== undefined && !pullPolicies.includes(pulls)) {
    errors.push(...oneOf(`${path}.imagePullPolicy`, pulls, pullPolicies))
  }
  if (tells !== '' && !messagePolicies.includes(tells)) {
    errors.push(unsupported(`${path}.terminationMessagePolicy`, tells, messagePolicies))
  }
  if (container.ports !== undefined) validatePorts(container, path, errors)
  if (env !== undefined) validateEnvironment(env, `${path}.env`, errors)
  if (envFrom !== undefined) validateEnvironmentSources(envFrom, `${path}.envFrom`, errors)
  validateMounts(container, volumes, path, errors)
  if (resources !== undefined) validateResources(resources, resourceClaims, `${path}.resources`, errors)
  if (resizePolicy !== undefined) {
    validateResizePolicies(resizePolicy, spec.restartPolicy, `${path}.resizePolicy`, errors)
  }
  if (securityContext !== undefined) validateSecurity(securityContext, `${path}.securityContext`, errors)
  validateRestarts(container, path, errors)
  validateLife(container, kind, grace, path, errors)
}

const restartPolicies = ['Always', 'Never', 'OnFailure']
const ruleActions = ['Restart', 'RestartAllContainers']

/** When a container starts again, where it says so itself. */
function validateRestarts(container: Container, path: string, errors: FieldError[]): void {
  const { restartPolicy, restartPolicyRules: rules } = container
  if (restartPolicy !== undefined) errors.push(...oneOf(`${path}.restartPolicy`, restartPolicy, restartPolicies))
  if (rules === undefined || rules.length === 0) return
  if (restartPolicy === undefined) {
    errors.push(required(`${path}.restartPolicy`, 'must specify restartPolicy when restart rules are used'))
  }
  rules.forEach(({ action, exitCodes }, index) => {
    const place = `${path}.restartPolicyRules[${index}]`
    if (!ruleActions.includes(action)) errors.push(notSupported(`${place}.action`, action, ruleActions))
    if (exitCodes === undefined) errors.push(required(`${place}.exitCodes`, 'must be specified'))
    else errors.push(...oneOf(`${place}.exitCodes.operator`, exitCodes.operator, ['In', 'NotIn']))
  })
}

const protocols = ['SCTP', 'TCP', 'UDP']

function validatePorts({ ports = [] }: Container, path: string, errors: FieldError[]): void {
  const names = new Set<string>()
  ports.forEach(({ name = '', containerPort, hostPort = 0, protocol }, index) => {
    const place = `${path}.ports[${index}]`
    if (name !== '') {
      const faults = ianaServiceName(`${place}.name`, name)
      if (faults.length > 0) errors.push(...faults)
      else if (names.has(name)) errors.push(duplicate(`${place}.name`, name))
      names.add(name)
    }
    if ((containerPort ?? 0) === 0) errors.push(required(`${place}.containerPort`))
    else errors.push(...portNumber(`${place}.containerPort`, containerPort))
    if (hostPort !== 0) errors.push(...portNumber(`${place}.hostPort`, hostPort))
    errors.push(...oneOf(`${place}.protocol`, protocol, protocols))
  })
}

/** Ports of the host can be had once. */
function validateHostPorts({ ports }: Container, taken: Set<string>, path: string, errors: FieldError[]): void {
  ports?.forEach(({ hostPort = 0, protocol = 'TCP', hostIP = '' }, index) => {
    if (hostPort === 0) return
    const key = `${protocol}/${hostIP}/${hostPort}`
    if (taken.has(key)) errors.push(duplicate(`${path}.ports[${index}].hostPort`, key))
    taken.add(key)
  })
}

/** What is asked of the containers of a pod only, where a template may leave it open. */
export function validateOfPod(spec: PodSpec, path: string, errors: FieldError[]): void {
  for (const list of ['containers', 'initContainers'] as const) {
    spec[list]?.forEach(({ image = '' }, index) => {
      if (image === image.trim()) return
      const why = 'must not have leading or trailing whitespace'
      errors.push(invalid(`${path}.${list}[${index}].image`, image, why))
    })
  }
}

/** On the network of the host a port is the host's: a template may leave that to be filled in. */
export function validateHostNetwork(
  spec: PodSpec,
  place: 'pod' | 'template',
  path: string,
  errors: FieldError[],
): void {
  if (spec.hostNetwork !== true) return
  spec.containers?.forEach(({ ports }, index) => {
    ports?.forEach(({ hostPort = 0, containerPort }, at) => {
      if (hostPort === containerPort || (place === 'template' && hostPort === 0)) return
      const why = 'must match `containerPort` when `hostNetwork` is true'
      errors.push(invalid(`${path}.containers[${index}].ports[${at}].hostPort`, hostPort, why))
    })
  })
}
