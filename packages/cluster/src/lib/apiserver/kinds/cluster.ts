import type { Lease } from '@fairlead/kube/types/coordination-v1'
import type { Event, LimitRange, Namespace, Node, ResourceQuota } from '@fairlead/kube/types/core-v1'
import type { Event as EventsEvent } from '@fairlead/kube/types/events-v1'

import { defineKind } from './define.ts'
import { invalid } from './field-errors.ts'
import { validateLimits } from './limit-rules.ts'
import { validateNode } from './node-rules.ts'
import { age, ageColumn, column, nameColumn, orNone, wideColumn } from './printing.ts'
import { validateQuota } from './quota-rules.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy, TableColumn } from '../strategy.ts'

export const namespace: KindStrategy = defineKind<Namespace>({
  fields: ({ status }) => ({ 'status.phase': status?.phase ?? '' }),
  columns: [nameColumn, column('Status'), ageColumn],
  row: ({ metadata, status }, now) => [metadata.name, status?.phase ?? '', age(metadata.creationTimestamp, now)],
})

export const node: KindStrategy = defineKind<Node>({
  default(object) {
    object.spec ??= {}
  },
  validate: validateNode,
  fields: ({ spec }) => ({ 'spec.unschedulable': String(spec?.unschedulable ?? false) }),
  columns: [
    nameColumn,
    column('Status'),
    column('Roles'),
    ageColumn,
    column('Version'),
    wideColumn('Internal-IP'),
    wideColumn('External-IP'),
    wideColumn('OS-Image'),
    wideColumn('Kernel-Version'),
    wideColumn('Container-Runtime'),
  ],
  row({ metadata, spec, status }, now) {
    const info = status?.nodeInfo
    const address = (type: string): string => orNone(status?.addresses?.find((each) => each.type === type)?.address)
    return [
      metadata.name,
      nodeStatus(status, spec?.unschedulable === true),
      nodeRoles(metadata.labels ?? {}),
      age(metadata.creationTimestamp, now),
      info?.kubeletVersion ?? '',
      address('InternalIP'),
      address('ExternalIP'),
      info?.osImage ?? '<unknown>',
      info?.kernelVersion ?? '<unknown>',
      info?.containerRuntimeVersion ?? '<unknown>',
    ]
  },
})

function nodeStatus(status: Node['status'], isUnschedulable: boolean): string {
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready')
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'
  return isUnschedulable ? `${state},SchedulingDisabled` : state
}

function nodeRoles(labels: Readonly<Record<string, string>>): string {
  const prefix = 'node-role.kubernetes.io/'
  const roles = Object.entries(labels).flatMap(([key, value]) => {
    if (key.startsWith(prefix)) return [key.slice(prefix.length)]
    return key === 'kubernetes.io/role' && value !== '' ? [value] : []
  })
  return orNone([...new Set(roles)].toSorted((a, b) => (a < b ? -1 : 1)).join(','))
}

const eventColumns: readonly TableColumn[] = [
  column('Last Seen'),
  column('Type'),
  column('Reason'),
  column('Object'),
  wideColumn('Subobject'),
  wideColumn('Source'),
  column('Message'),
  wideColumn('First Seen'),
  wideColumn('Count'),
  { ...wideColumn('Name'), format: 'name' },
]

export const event: KindStrategy = defineKind<Event>({
  validate({ metadata, involvedObject }) {
    const inside = involvedObject.namespace ?? ''
    if (inside === '' || inside === metadata.namespace) return []
    return [invalid('involvedObject.namespace', inside, 'does not match event.namespace')]
  },
  fields: ({ involvedObject: about, reason = '', reportingComponent = '', source, type = '' }) => ({
    'involvedObject.kind': about?.kind ?? '',
    'involvedObject.namespace': about?.namespace ?? '',
    'involvedObject.name': about?.name ?? '',
    'involvedObject.uid': about?.uid ?? '',
    'involvedObject.apiVersion': about?.apiVersion ?? '',
    'involvedObject.resourceVersion': about?.resourceVersion ?? '',
    'involvedObject.fieldPath': about?.fieldPath ?? '',
    reason,
    reportingComponent,
    source: source?.component || reportingComponent,
    type,
  }),
  columns: eventColumns,
  row(each, now) {
    const source = [
      each.source?.component || each.reportingComponent || '',
      each.source?.host ?? each.reportingInstance ?? '',
    ]
    return eventRow({ ...each, about: each.involvedObject, note: each.message, source }, now)
  },
})

export const eventsEvent: KindStrategy = defineKind<EventsEvent>({
  fields: ({ regarding, reason = '', reportingController = '', type = '' }) => ({
    'regarding.kind': regarding?.kind ?? '',
    'regarding.namespace': regarding?.namespace ?? '',
    'regarding.name': regarding?.name ?? '',
    'regarding.uid': regarding?.uid ?? '',
    'regarding.apiVersion': regarding?.apiVersion ?? '',
    'regarding.resourceVersion': regarding?.resourceVersion ?? '',
    'regarding.fieldPath': regarding?.fieldPath ?? '',
    reason,
    reportingController,
    type,
  }),
  storedField: (name) =>
    name === 'reportingController' ? 'reportingComponent' : name.replace('regarding.', 'involvedObject.'),
  columns: eventColumns,
  row(each, now) {
    const source = [each.reportingController ?? '', each.reportingInstance ?? '']
    const times = { firstTimestamp: each.deprecatedFirstTimestamp, lastTimestamp: each.deprecatedLastTimestamp }
    return eventRow({ ...each, ...times, about: each.regarding, source, count: each.deprecatedCount }, now)
  },
})

interface AnyEvent {
  metadata: { name?: string | undefined }
  about: { kind?: string | undefined; name?: string | undefined; fieldPath?: string | undefined } | undefined
  reason?: string | undefined
  type?: string | undefined
  note?: string | undefined
  source: readonly string[]
  eventTime?: string | undefined
  firstTimestamp?: string | undefined
  lastTimestamp?: string | undefined
  count?: number | undefined
  series?: { count?: number | undefined; lastObservedTime?: string | undefined } | undefined
}

function eventRow(each: AnyEvent, now: number): unknown[] {
  const first = age(each.firstTimestamp ?? each.eventTime, now)
  const last = each.series?.lastObservedTime ?? each.lastTimestamp
  const kind = (each.about?.kind ?? '').toLowerCase()
  const name = each.about?.name ?? ''
  return [
    last === undefined ? first : age(last, now),
    each.type ?? '',
    each.reason ?? '',
    name === '' ? kind : `${kind}/${name}`,
    each.about?.fieldPath ?? '',
    each.source.filter((part) => part !== '').join(', '),
    (each.note ?? '').trim(),
    first,
    each.series?.count ?? (each.count === undefined || each.count === 0 ? 1 : each.count),
    each.metadata.name,
  ]
}

export const lease: KindStrategy = defineKind<Lease>({
  create: dropCoordination,
  update: dropCoordination,
  validate({ spec }) {
    const { leaseDurationSeconds: seconds = 1, leaseTransitions = 0 } = spec ?? {}
    const errors: FieldError[] = []
    if (seconds <= 0) errors.push(invalid('spec.leaseDurationSeconds', seconds, 'must be greater than 0'))
    if (leaseTransitions < 0) {
      errors.push(invalid('spec.leaseTransitions', leaseTransitions, 'must be greater than or equal to 0'))
    }
    return errors
  },
  columns: [nameColumn, column('Holder'), ageColumn],
  row: ({ metadata, spec }, now) => [metadata.name, spec?.holderIdentity ?? '', age(metadata.creationTimestamp, now)],
})

/** Fields of the coordinated election of leaders, whose feature gate is off in 1.36. */
function dropCoordination({ spec }: Lease): void {
  delete spec?.strategy
  delete spec?.preferredHolder
}

export const resourceQuota: KindStrategy = defineKind<ResourceQuota>({
  validate: ({ spec }, old) => validateQuota(spec ?? {}, old === undefined ? undefined : (old.spec ?? {})),
  columns: [nameColumn, column('Request'), column('Limit'), ageColumn],
  row({ metadata, status }, now) {
    const usage = Object.entries(status?.hard ?? {}).map(([name, hard]) => ({
      isLimit: name.startsWith('limits.'),
      text: `${name}: ${status?.used?.[name] ?? 0}/${hard}`,
    }))
    const join = (isLimit: boolean): string =>
      usage
        .filter((each) => each.isLimit === isLimit)
        .map(({ text }) => text)
        .toSorted((a, b) => (a < b ? -1 : 1))
        .join(', ')
    return [metadata.name, join(false), join(true), age(metadata.creationTimestamp, now)]
  },
})

export const limitRange: KindStrategy = defineKind<LimitRange>({
  default({ spec }) {
    for (const item of spec?.limits ?? []) {
      if (item.type !== 'Container') continue
      // What is asked for follows from what is allowed, where nothing else is said.
      item.default = { ...item.max, ...item.default }
      item.defaultRequest = { ...item.min, ...item.default, ...item.defaultRequest }
    }
  },
  validate: ({ spec }) => validateLimits(spec?.limits ?? []),
  columns: [nameColumn, column('Created At')],
  row: ({ metadata }) => [metadata.name, metadata.creationTimestamp ?? ''],
})
