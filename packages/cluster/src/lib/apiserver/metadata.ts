import { renderExactJson } from '@fairlead/kube/codec'
import { randomInt, randomUUID } from 'node:crypto'

import type { KindInfo, KubeObject, ObjectMeta } from '@fairlead/kube/types'

import type { Resource } from './resource.ts'
import type { FieldError } from './status.ts'

/** Kubernetes' time format: whole seconds, UTC. */
export function renderTime(milliseconds: number): string {
  const second = Math.floor(milliseconds / 1000)
  if (second !== latest.second) latest = { second, text: `${new Date(second * 1000).toISOString().slice(0, 19)}Z` }
  return latest.text
}

// Most calls ask for the present second.
let latest = { second: Number.NaN, text: '' }

/** Gives a new object what only the server decides, and takes away what the client may not. */
export function stampNew(resource: Resource, object: KubeObject, namespace: string, now: number): void {
  const { name, generateName, labels, annotations, finalizers, ownerReferences } = object.metadata
  const metadata: ObjectMeta = { name: name === '' ? undefined : name }
  if (generateName !== undefined && generateName !== '') {
    metadata.generateName = generateName
    metadata.name ??= generateNameFrom(generateName)
  }
  if (resource.info.namespaced) metadata.namespace = namespace
  metadata.uid = randomUUID()
  if (resource.hasGeneration) metadata.generation = 1
  metadata.creationTimestamp = renderTime(now)
  if (isFilled(labels)) metadata.labels = labels
  if (isFilled(annotations)) metadata.annotations = annotations
  if (ownerReferences !== undefined && ownerReferences.length > 0) metadata.ownerReferences = ownerReferences
  if (finalizers !== undefined && finalizers.length > 0) metadata.finalizers = finalizers
  object.metadata = metadata
}

/** Restores on an updated object what clients cannot change. */
export function keepIdentity(object: KubeObject, old: KubeObject): void {
  const { metadata } = object
  const kept = old.metadata
  metadata.name = kept.name
  metadata.namespace = kept.namespace
  metadata.uid = kept.uid
  metadata.creationTimestamp = kept.creationTimestamp
  metadata.generateName = kept.generateName
  metadata.generation = kept.generation
  metadata.deletionTimestamp = kept.deletionTimestamp
  metadata.deletionGracePeriodSeconds = kept.deletionGracePeriodSeconds
  metadata.resourceVersion = kept.resourceVersion
  delete metadata.managedFields
  delete metadata.selfLink
  if (!isFilled(metadata.labels)) delete metadata.labels
  if (!isFilled(metadata.annotations)) delete metadata.annotations
  if (metadata.finalizers?.length === 0) delete metadata.finalizers
  if (metadata.ownerReferences?.length === 0) delete metadata.ownerReferences
  for (const key of Object.keys(metadata) as (keyof ObjectMeta)[]) if (metadata[key] === undefined) delete metadata[key]
}

/**
 * Whether anything but metadata and status differs: what `metadata.generation` counts. Where the status is no part of
 * its own (a custom resource without the subresource), it counts as well.
 */
export function desiresChange(object: KubeObject, old: KubeObject, countsStatus = false): boolean {
  const { metadata: _metadata, status, ...wanted } = object
  const { metadata: _oldMetadata, status: oldStatus, ...before } = old
  return !isEqual(wanted, before) || (countsStatus && !isEqual(status, oldStatus))
}

/** Whether two JSON values are the same, whatever the order of their keys. */
export function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    return a.every((item, index) => isEqual(item, b[index]))
  }
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  const keys = Object.keys(left)
  if (keys.length !== Object.keys(right).length) return false
  return keys.every((key) => Object.hasOwn(right, key) && isEqual(left[key], right[key]))
}

/** A name upstream would generate: no vowels, so that no words appear. */
export function generateNameFrom(base: string): string {
  let name = base.slice(0, 58)
  for (let n = 0; n < 5; n += 1) name += letters[randomInt(letters.length)]
  return name
}

/** What is wrong with the metadata of an object that is about to be stored; `old` is the version it replaces. */
export function validateMetadata(info: KindInfo, object: KubeObject, old?: KubeObject): FieldError[] {
  const { name, labels, annotations } = object.metadata
  const errors: FieldError[] = []
  if (name === undefined || name === '') {
    const message = 'Required value: name or generateName is required'
    return [{ field: 'metadata.name', reason: 'FieldValueRequired', message }]
  }
  const wrong = invalidName(info, name)
  if (wrong !== undefined) errors.push(invalidValue('metadata.name', name, wrong))
  for (const [key, value] of Object.entries(labels ?? {})) {
    if (!isQualifiedName(key)) errors.push(invalidValue('metadata.labels', key, qualifiedRule))
    if (!labelValue.test(value) || value.length > 63) errors.push(invalidValue('metadata.labels', value, valueRule))
  }
  for (const key of Object.keys(annotations ?? {})) {
    if (!isQualifiedName(key.toLowerCase())) errors.push(invalidValue('metadata.annotations', key, qualifiedRule))
  }
  return [...errors, ...validateOwners(object.metadata), ...validateFinalizers(object.metadata, old?.metadata)]
}

/** An owner that is not named in full cannot be found, and what has no owner left is deleted. */
function validateOwners({ ownerReferences = [] }: ObjectMeta): FieldError[] {
  const errors: FieldError[] = []
  for (const owner of ownerReferences) {
    for (const key of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      const value = owner[key] ?? ''
      if (value === '') errors.push(invalidValue(`metadata.ownerReferences.${key}`, value, `${key} must not be empty`))
    }
  }
  const managers = ownerReferences.filter(({ controller }) => controller === true)
  if (managers.length > 1) {
    const names = managers.map(({ kind, name }) => `${kind}/${name}`).join(', ')
    const why = 'Only one reference can have Controller set to true'
    errors.push(invalidValue('metadata.ownerReferences', names, why))
  }
  return errors
}

/** Whoever clears the last finalizer ends the object: none may be added once that has begun. */
function validateFinalizers({ finalizers = [] }: ObjectMeta, old: ObjectMeta | undefined): FieldError[] {
  const errors = finalizers
    .filter((name) => !isQualifiedName(name))
    .map((name) => invalidValue('metadata.finalizers', name, qualifiedRule))
  const before = old?.finalizers ?? []
  const added = old?.deletionTimestamp === undefined ? [] : finalizers.filter((name) => !before.includes(name))
  if (added.length === 0) return errors
  const found = `found new finalizers []string{${added.map((name) => JSON.stringify(name)).join(', ')}}`
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, ${found}`
  return [...errors, { field: 'metadata.finalizers', reason: 'FieldValueForbidden', message }]
}

const letters = 'bcdfghjklmnpqrstvwxz2456789'
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const qualified = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/
const labelRule =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
const subdomainRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const qualifiedRule =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const valueRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

/** Groups whose objects may be named whatever fits into a path. */
const pathNamed = new Set(['rbac.authorization.k8s.io', 'apiregistration.k8s.io'])

function invalidName(info: KindInfo, name: string): string | undefined {
  // Names of events are made of names of objects, and may be longer than those.
  if (pathNamed.has(info.group) || info.kind === 'IPAddress' || info.kind === 'Event') {
    return name === '.' || name === '..' || /[/%]/.test(name)
      ? "may not be '.' or '..' and may not contain '/' or '%'"
      : undefined
  }
  const isLabel = info.kind === 'Namespace' || info.kind === 'Service'
  const longest = isLabel ? 63 : 253
  if (name.length > longest) return `must be no more than ${longest} characters`
  if (isLabel) return label.test(name) ? undefined : labelRule
  return subdomain.test(name) ? undefined : subdomainRule
}

function isQualifiedName(key: string): boolean {
  const at = key.indexOf('/')
  // A second slash is in no name.
  const name = key.slice(at + 1)
  if (name.length > 63 || !qualified.test(name)) return false
  return at < 0 || (at <= 253 && subdomain.test(key.slice(0, at)))
}

function invalidValue(field: string, value: string, why: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${renderExactJson(value)}: ${why}` }
}

function isFilled(map: Record<string, string> | undefined): boolean {
  return map !== undefined && Object.keys(map).length > 0
}
