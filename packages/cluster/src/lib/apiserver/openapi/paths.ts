import type { Resource } from '../resource.ts'
import { definitionNameOf } from './custom-schema.ts'
import type { Dialect, Schema } from './dialect.ts'
import { definitionOf, shared } from './kind-schemas.ts'
import { renderParameters } from './parameters.ts'
import type { Parameter } from './parameters.ts'

/** One operation before it is written in a dialect. */
interface Operation {
  readonly id: string
  readonly method: string
  readonly action: string
  readonly gvk: Schema
  /** Definition of what is sent; undefined without a body. */
  readonly body: string | undefined
  readonly answer: string | undefined
  readonly parameters: readonly Parameter[]
}

const jsonTypes = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']
/** kubectl merges by itself where a strategic merge patch is not offered. */
const customPatchTypes = ['application/json-patch+json', 'application/merge-patch+json', 'application/apply-patch+yaml']
const patchTypes = [...customPatchTypes, 'application/strategic-merge-patch+json']

/** The address of a resource's group-version: `api/v1`, `apis/apps/v1`. */
export function groupPath({ group, apiVersion }: Resource['info']): string {
  return `${group === '' ? 'api' : 'apis'}/${apiVersion}`
}

/** Every address of a resource with every operation on it. */
export function renderPaths(resource: Resource, dialect: Dialect): [string, Schema][] {
  const { info } = resource
  const scope = info.namespaced ? 'namespaces/{namespace}/' : ''
  const collection = `/${groupPath(info)}/${scope}${info.plural}`
  const inScope: Parameter[] = info.namespaced ? ['namespace'] : []
  const everywhere: [string, Operation[]][] = info.namespaced
    ? [[`/${groupPath(info)}/${info.plural}`, listEverywhere(resource)]]
    : []
  const places: [string, Operation[]][] = [
    [collection, collectionOperations(resource, inScope)],
    [`${collection}/{name}`, objectOperations(resource, [...inScope, 'name'])],
    ...everywhere,
    ...resource.subresources.map((sub): [string, Operation[]] => [
      `${collection}/{name}/${sub.name}`,
      subresourceOperations(resource, sub, [...inScope, 'name']),
    ]),
  ]
  const sent = resource.custom === undefined ? patchTypes : customPatchTypes
  return places.flatMap(([path, operations]) =>
    operations.length === 0 ? [] : [[path, renderPath(operations, sent, dialect)] satisfies [string, Schema]],
  )
}

function collectionOperations(resource: Resource, place: readonly Parameter[]): Operation[] {
  const { object, list } = definitionsOf(resource)
  const write: Parameter[] = ['dryRun', 'fieldManager', 'fieldValidation']
  return served(resource, [
    ['list', operation(resource, 'list', 'get', 'list', place, ['list'], undefined, list)],
    ['create', operation(resource, 'create', 'post', 'post', place, write, object, object)],
    [
      'deletecollection',
      operation(
        resource,
        'deletecollection',
        'delete',
        'deletecollection',
        place,
        ['list', 'deletion'],
        shared.deleteOptions,
        shared.status,
      ),
    ],
  ])
}

function objectOperations(resource: Resource, place: readonly Parameter[]): Operation[] {
  const { object } = definitionsOf(resource)
  const write: Parameter[] = ['dryRun', 'fieldManager', 'fieldValidation']
  const { deleteOptions, status, patch } = shared
  return served(resource, [
    ['get', operation(resource, 'read', 'get', 'get', place, [], undefined, object)],
    ['update', operation(resource, 'replace', 'put', 'put', place, write, object, object)],
    ['patch', operation(resource, 'patch', 'patch', 'patch', place, [...write, 'force'], patch, object)],
    ['delete', operation(resource, 'delete', 'delete', 'delete', place, ['deletion'], deleteOptions, status)],
  ])
}

function listEverywhere(resource: Resource): Operation[] {
  const { list } = definitionsOf(resource)
  const found = operation(resource, 'list', 'get', 'list', [], ['list'], undefined, list)
  return served(resource, [['list', { ...found, id: `${idOf(resource, 'list', '', false)}ForAllNamespaces` }]])
}

function subresourceOperations(
  resource: Resource,
  sub: Resource['subresources'][number],
  place: readonly Parameter[],
): Operation[] {
  const { apiVersion, kind, name } = sub
  const isStream = /^(?:exec|attach|portforward|proxy|log)$/.test(name)
  const isOwn = apiVersion === resource.info.apiVersion && kind === resource.info.kind
  const definition = isStream
    ? undefined
    : isOwn
      ? definitionsOf(resource).object
      : definitionOf(resource, apiVersion, kind)
  const slash = apiVersion.indexOf('/')
  const gvk = { group: apiVersion.slice(0, Math.max(slash, 0)), kind, version: apiVersion.slice(slash + 1) }
  const write: Parameter[] = ['dryRun', 'fieldManager', 'fieldValidation']
  const verbs: Record<string, readonly [string, string, readonly Parameter[]]> = {
    get: ['read', 'get', []],
    update: ['replace', 'put', write],
    patch: ['patch', 'patch', [...write, 'force']],
    create: ['create', 'post', write],
  }
  return sub.verbs.flatMap((verb) => {
    const [word, method, parameters] = verbs[verb] ?? []
    if (word === undefined || method === undefined || parameters === undefined) return []
    const action = isStream && name !== 'log' ? 'connect' : method
    const body = method === 'get' || isStream ? undefined : method === 'patch' ? shared.patch : definition
    const id = idOf(resource, isStream && name !== 'log' ? `connect${capital(method)}` : word, capital(name), true)
    return [{ id, method, action, gvk, body, answer: definition, parameters: [...place, ...parameters] }]
  })
}

function operation(
  resource: Resource,
  word: string,
  method: string,
  action: string,
  place: readonly Parameter[],
  parameters: readonly Parameter[],
  body: string | undefined,
  answer: string | undefined,
): Operation {
  const { group, version, kind } = resource.info
  const id = idOf(resource, word, '', true)
  return { id, method, action, gvk: { group, kind, version }, body, answer, parameters: [...place, ...parameters] }
}

function served({ info }: Resource, operations: readonly (readonly [string, Operation])[]): Operation[] {
  return operations.flatMap(([verb, found]) => (info.verbs.includes(verb) ? [found] : []))
}

function definitionsOf(resource: Resource): { object: string | undefined; list: string | undefined } {
  const { info, custom } = resource
  if (custom !== undefined) return { object: definitionNameOf(info), list: `${definitionNameOf(info)}List` }
  return {
    object: definitionOf(resource, info.apiVersion, info.kind),
    list: definitionOf(resource, info.apiVersion, `${info.kind}List`),
  }
}

/** `patchAppsV1NamespacedDeploymentStatus`: names of functions in generated clients. */
function idOf({ info }: Resource, word: string, suffix: string, isInPlace: boolean): string {
  const group = info.group.replace(/\.k8s\.io$/, '').split('.')
  const prefix = info.group === '' ? 'Core' : group.map(capital).join('')
  const scope = info.namespaced && isInPlace ? 'Namespaced' : ''
  const isCollection = word === 'deletecollection'
  const verb = isCollection ? 'delete' : word
  return [verb, prefix, capital(info.version), isCollection ? 'Collection' : '', scope, info.kind, suffix].join('')
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}

function renderPath(operations: readonly Operation[], patches: readonly string[], dialect: Dialect): Schema {
  return Object.fromEntries(
    operations.map((each) => [
      each.method,
      renderOperation(each, each.method === 'patch' ? patches : ['*/*'], dialect),
    ]),
  )
}

function renderOperation(each: Operation, consumes: readonly string[], dialect: Dialect): Schema {
  const { id, action, gvk, body, answer, parameters } = each
  const common = { 'x-kubernetes-action': action, 'x-kubernetes-group-version-kind': gvk }
  const listed = renderParameters(parameters, dialect)
  if (dialect.version === 2) {
    const sent =
      body === undefined
        ? []
        : [{ in: 'body', name: 'body', required: action !== 'delete', schema: dialect.reference(body) }]
    return {
      consumes,
      produces: jsonTypes,
      operationId: id,
      parameters: [...sent, ...listed],
      responses: { 200: { description: 'OK', ...(answer === undefined ? {} : { schema: dialect.reference(answer) }) } },
      ...common,
    }
  }
  const content = (definition: string, types: readonly string[]): Schema =>
    Object.fromEntries(types.map((type) => [type, { schema: { $ref: `#/components/schemas/${definition}` } }]))
  return {
    operationId: id,
    parameters: listed,
    ...(body === undefined ? {} : { requestBody: { content: content(body, consumes) } }),
    responses: {
      200: { description: 'OK', ...(answer === undefined ? {} : { content: content(answer, jsonTypes) }) },
    },
    ...common,
  }
}
