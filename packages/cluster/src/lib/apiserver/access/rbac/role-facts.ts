import type { KubeObject } from '@fairlead/kube/types'
import type { PolicyRule, Subject } from '@fairlead/kube/types/rbac-v1'

/** One role every cluster begins with, and the binding that comes with it. */
export interface RoleFacts {
  readonly name: string
  /** Set for a Role; without, it is a ClusterRole. */
  readonly namespace?: string
  /** `VERBS | GROUPS | RESOURCES [| NAMES]` or `VERBS | URLS`, words parted by spaces; the core group is written `core`. */
  readonly rules?: readonly string[]
  /** This role's rules become part of the aggregated roles of that name. */
  readonly aggregatesTo?: string
  /** This role collects the rules of the roles that aggregate to these names. */
  readonly aggregates?: string
  /** Who holds it: `User:NAME`, `Group:NAME`, or `NAMESPACE/NAME` of a service account. Default: nobody. */
  readonly boundTo?: readonly string[]
  /** Default: the role's name. */
  readonly bindingName?: string
}

const group = 'rbac.authorization.k8s.io'
const metadata = {
  annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
  labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
}

/** The Role or ClusterRole. */
export function renderRole({ name, namespace, rules = [], aggregatesTo, aggregates }: RoleFacts): KubeObject {
  const labels = aggregatesTo === undefined ? {} : { [aggregateLabel(aggregatesTo)]: 'true' }
  const selectors = aggregates?.split(' ').map((target) => ({ matchLabels: { [aggregateLabel(target)]: 'true' } }))
  return {
    apiVersion: `${group}/v1`,
    kind: namespace === undefined ? 'ClusterRole' : 'Role',
    metadata: { ...renderMetadata(name, namespace), labels: { ...metadata.labels, ...labels } },
    ...(selectors === undefined ? {} : { aggregationRule: { clusterRoleSelectors: selectors } }),
    rules: rules.map(parseRule),
  }
}

/** The binding of the role to those who hold it; undefined when nobody does. */
export function renderBinding(facts: RoleFacts): KubeObject | undefined {
  const { name, namespace, boundTo, bindingName = name } = facts
  if (boundTo === undefined) return undefined
  return {
    apiVersion: `${group}/v1`,
    kind: namespace === undefined ? 'ClusterRoleBinding' : 'RoleBinding',
    metadata: renderMetadata(bindingName, namespace),
    roleRef: { apiGroup: group, kind: namespace === undefined ? 'ClusterRole' : 'Role', name },
    subjects: boundTo.map(parseSubject),
  }
}

export function parseRule(text: string): PolicyRule {
  const [verbs = [], second = [], resources, names] = text.split(' | ').map((part) => part.split(' '))
  if (resources === undefined) return { verbs, nonResourceURLs: second }
  const apiGroups = second.map((name) => (name === 'core' ? '' : name))
  return { verbs, apiGroups, resources, ...(names === undefined ? {} : { resourceNames: names }) }
}

function parseSubject(text: string): Subject {
  const account = /^([^:/]+)\/(.+)$/.exec(text)
  if (account !== null) return { kind: 'ServiceAccount', name: account[2] ?? '', namespace: account[1] ?? '' }
  const at = text.indexOf(':')
  return { apiGroup: group, kind: text.slice(0, at), name: text.slice(at + 1) }
}

function renderMetadata(name: string, namespace: string | undefined): KubeObject['metadata'] {
  const { annotations, labels } = metadata
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    annotations: { ...annotations },
    labels: { ...labels },
  }
}

function aggregateLabel(target: string): string {
  return `${group}/aggregate-to-${target}`
}
