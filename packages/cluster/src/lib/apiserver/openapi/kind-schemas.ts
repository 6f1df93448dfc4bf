import { findDefinition } from '@fairlead/kube/types'

import type { Resource } from '../resource.ts'
import { addCustomSchemas } from './custom-schema.ts'
import type { Dialect, Schema } from './dialect.ts'
import { SchemaCollector } from './schema.ts'

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1'

/** Bodies that every group-version knows. */
export const shared: Readonly<Record<'deleteOptions' | 'status' | 'watchEvent' | 'patch', string>> = {
  deleteOptions: `${meta}.DeleteOptions`,
  status: `${meta}.Status`,
  watchEvent: `${meta}.WatchEvent`,
  patch: `${meta}.Patch`,
}

/** Schemas of the objects of `resources`, of lists of them, and of what is sent and answered besides. */
export function renderSchemas(resources: readonly Resource[], dialect: Dialect): Record<string, Schema> {
  const collector = new SchemaCollector(dialect)
  for (const { info, custom, subresources } of resources) {
    if (custom !== undefined) continue
    addKind(collector, info.apiVersion, info.kind)
    addKind(collector, info.apiVersion, `${info.kind}List`)
    for (const { apiVersion, kind } of subresources) addKind(collector, apiVersion, kind)
  }
  addCustomSchemas(collector, resources, dialect)
  addShared(collector, resources)
  return collector.finish()
}

function addKind(collector: SchemaCollector, apiVersion: string, kind: string): void {
  const definition = findDefinition(apiVersion, kind)
  if (definition === undefined || Object.values(shared).includes(definition)) return
  collector.add(definition)
  const slash = apiVersion.indexOf('/')
  const group = apiVersion.slice(0, Math.max(slash, 0))
  collector.mark(definition, [{ group, kind, version: apiVersion.slice(slash + 1) }])
}

function addShared(collector: SchemaCollector, resources: readonly Resource[]): void {
  const served = new Map(resources.map(({ info }) => [info.apiVersion, info]))
  const kindsOf = (kind: string): Schema[] =>
    [...served.values()].map(({ group, version }) => ({ group, kind, version }))
  for (const definition of [shared.deleteOptions, shared.status, shared.watchEvent]) collector.add(definition)
  collector.put(shared.patch, { type: 'object' })
  collector.mark(shared.deleteOptions, kindsOf('DeleteOptions'))
  collector.mark(shared.watchEvent, kindsOf('WatchEvent'))
  collector.mark(shared.status, [{ group: '', kind: 'Status', version: 'v1' }])
}

/** The definition of a body of this kind; undefined for what has none, such as the answer of a proxy. */
export function definitionOf({ info, custom }: Resource, apiVersion: string, kind: string): string | undefined {
  if (custom !== undefined && apiVersion === info.apiVersion) return undefined
  const found = findDefinition(apiVersion, kind)
  return found === undefined || kind.endsWith('Options') ? undefined : found
}
