import type { KubeObject } from '@fairlead/kube/types'
import type {
  FlowSchemaSpec,
  PolicyRulesWithSubjects,
  PriorityLevelConfigurationSpec,
  Subject,
} from '@fairlead/kube/types/flowcontrol-v1'

/** Says `"true"` on an object of the cluster's own until somebody changes its spec. */
export const autoUpdate = 'apf.kubernetes.io/autoupdate-spec'

/** An object every cluster has; what somebody writes into the spec of a mandatory one does not last. */
export interface FirstObject {
  readonly object: KubeObject
  readonly isMandatory: boolean
}

type Limited = NonNullable<PriorityLevelConfigurationSpec['limited']>

function level(name: string, spec: PriorityLevelConfigurationSpec): KubeObject {
  return { ...named('PriorityLevelConfiguration', name), spec }
}

function named(kind: string, name: string): KubeObject {
  const metadata = { name, annotations: { [autoUpdate]: 'true' } }
  return { apiVersion: 'flowcontrol.apiserver.k8s.io/v1', kind, metadata }
}

/** A level that lets requests wait: in so many queues, of which a flow has a hand. */
function queued(
  name: string,
  shares: number,
  lendablePercent: number,
  [queues, handSize]: [number, number],
): KubeObject {
  const queuing = { queues, handSize, queueLengthLimit: 50 }
  const limited: Limited = {
    nominalConcurrencyShares: shares,
    lendablePercent,
    limitResponse: { type: 'Queue', queuing },
  }
  return level(name, { type: 'Limited', limited })
}

const levels: readonly FirstObject[] = [
  {
    object: level('exempt', { type: 'Exempt', exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } }),
    isMandatory: true,
  },
  {
    object: level('catch-all', {
      type: 'Limited',
      limited: { nominalConcurrencyShares: 5, lendablePercent: 0, limitResponse: { type: 'Reject' } },
    }),
    isMandatory: true,
  },
  { object: queued('system', 30, 33, [64, 6]), isMandatory: false },
  { object: queued('node-high', 40, 25, [64, 6]), isMandatory: false },
  { object: queued('leader-election', 10, 0, [16, 4]), isMandatory: false },
  { object: queued('workload-high', 40, 50, [128, 6]), isMandatory: false },
  { object: queued('workload-low', 100, 90, [128, 6]), isMandatory: false },
  { object: queued('global-default', 20, 50, [128, 6]), isMandatory: false },
]

type Distinguisher = NonNullable<FlowSchemaSpec['distinguisherMethod']>['type']

interface SchemaFacts {
  readonly name: string
  readonly level: string
  readonly precedence: number
  readonly by?: Distinguisher
  readonly subjects: readonly Subject[]
  /** Default: whatever is asked for. */
  readonly rules?: Omit<PolicyRulesWithSubjects, 'subjects'>
  readonly isMandatory?: true
}

const group = (name: string): Subject => ({ kind: 'Group', group: { name } })
const user = (name: string): Subject => ({ kind: 'User', user: { name } })
const everyone = [group('system:unauthenticated'), group('system:authenticated')]
const nodes = [group('system:nodes')]
const ofSystem: Subject = { kind: 'ServiceAccount', serviceAccount: { name: '*', namespace: 'kube-system' } }

const anything: Omit<PolicyRulesWithSubjects, 'subjects'> = {
  resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*'] }],
  nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
}

function leases(verbs: string[]): NonNullable<PolicyRulesWithSubjects['resourceRules']>[number] {
  return { verbs, apiGroups: ['coordination.k8s.io'], resources: ['leases'], namespaces: ['*'] }
}

const schemas: readonly SchemaFacts[] = [
  { name: 'exempt', level: 'exempt', precedence: 1, subjects: [group('system:masters')], isMandatory: true },
  { name: 'catch-all', level: 'catch-all', precedence: 10_000, by: 'ByUser', subjects: everyone, isMandatory: true },
  {
    name: 'probes',
    level: 'exempt',
    precedence: 2,
    subjects: everyone,
    rules: { nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/healthz', '/readyz', '/livez'] }] },
  },
  {
    name: 'system-leader-election',
    level: 'leader-election',
    precedence: 100,
    by: 'ByUser',
    subjects: [user('system:kube-controller-manager'), user('system:kube-scheduler'), ofSystem],
    rules: { resourceRules: [leases(['get', 'create', 'update'])] },
  },
  {
    name: 'system-node-high',
    level: 'node-high',
    precedence: 400,
    by: 'ByUser',
    subjects: nodes,
    rules: {
      resourceRules: [
        { verbs: ['*'], apiGroups: [''], resources: ['nodes', 'nodes/status'], clusterScope: true, namespaces: ['*'] },
        leases(['*']),
      ],
    },
  },
  { name: 'system-nodes', level: 'system', precedence: 500, by: 'ByUser', subjects: nodes },
  {
    name: 'kube-controller-manager',
    level: 'workload-high',
    precedence: 800,
    by: 'ByNamespace',
    subjects: [user('system:kube-controller-manager')],
  },
  {
    name: 'kube-scheduler',
    level: 'workload-high',
    precedence: 800,
    by: 'ByNamespace',
    subjects: [user('system:kube-scheduler')],
  },
  {
    name: 'kube-system-service-accounts',
    level: 'workload-high',
    precedence: 900,
    by: 'ByNamespace',
    subjects: [ofSystem],
  },
  {
    name: 'service-accounts',
    level: 'workload-low',
    precedence: 9000,
    by: 'ByUser',
    subjects: [group('system:serviceaccounts')],
  },
  { name: 'global-default', level: 'global-default', precedence: 9900, by: 'ByUser', subjects: everyone },
]

function schema({
  name,
  level: levelName,
  precedence,
  by,
  subjects,
  rules = anything,
  isMandatory,
}: SchemaFacts): FirstObject {
  const spec: FlowSchemaSpec = {
    priorityLevelConfiguration: { name: levelName },
    matchingPrecedence: precedence,
    ...(by === undefined ? {} : { distinguisherMethod: { type: by } }),
    rules: [{ subjects: [...subjects], ...rules }],
  }
  return { object: { ...named('FlowSchema', name), spec }, isMandatory: isMandatory === true }
}

/** The priority levels and flow schemas of Kubernetes 1.36, mandatory and suggested ones. */
export const firstObjects: readonly FirstObject[] = [...levels, ...schemas.map(schema)]
