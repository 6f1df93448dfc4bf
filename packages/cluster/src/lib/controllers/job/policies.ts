import type {
  PodFailurePolicy,
  PodFailurePolicyOnExitCodesRequirement,
  PodFailurePolicyOnPodConditionsPattern,
  SuccessPolicy,
} from '@fairlead/kube/types/batch-v1'
import type { ContainerStatus, Pod, PodCondition } from '@fairlead/kube/types/core-v1'

import { countIndexes, countShared, parseIndexes } from './indexes.ts'
import type { Indexes } from './indexes.ts'

/** What a failed pod means for its job. */
export interface FailureVerdict {
  /** Whether it counts towards the back-off limits. */
  readonly isCounted: boolean
  /** Its index has failed for good. */
  readonly failsIndex: boolean
  /** The job has failed, for this reason. */
  readonly failsJob?: string | undefined
}

const counted: FailureVerdict = { isCounted: true, failsIndex: false }

/** The first rule that a failed pod fulfils decides; without any it counts as a failure. */
export function judgeFailure(policy: PodFailurePolicy | undefined, pod: Pod): FailureVerdict {
  for (const [index, { action, onExitCodes, onPodConditions }] of (policy?.rules ?? []).entries()) {
    const cause =
      onExitCodes === undefined ? describeCondition(pod, onPodConditions ?? []) : describeExit(pod, onExitCodes)
    if (cause === undefined) continue
    if (action === 'Ignore') return { isCounted: false, failsIndex: false }
    if (action === 'FailIndex') return { isCounted: true, failsIndex: true }
    if (action === 'FailJob') {
      return { isCounted: true, failsIndex: false, failsJob: `${cause} matching FailJob rule at index ${index}` }
    }
    if (action === 'Count') return counted
  }
  return counted
}

function describeExit(pod: Pod, requirement: PodFailurePolicyOnExitCodesRequirement): string | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {}
  const found = [...containerStatuses, ...initContainerStatuses].find((status) => hasExit(status, requirement))
  if (found === undefined) return undefined
  const { namespace = '', name = '' } = pod.metadata ?? {}
  return `Container ${found.name} for pod ${namespace}/${name} failed with exit code ${found.state?.terminated?.exitCode}`
}

function hasExit(status: ContainerStatus, requirement: PodFailurePolicyOnExitCodesRequirement): boolean {
  const { containerName, operator, values } = requirement
  const exitCode = status.state?.terminated?.exitCode ?? 0
  if (exitCode === 0 || (containerName !== undefined && containerName !== status.name)) return false
  return operator === 'In' ? values.includes(exitCode) : operator === 'NotIn' && !values.includes(exitCode)
}

function describeCondition(pod: Pod, patterns: readonly PodFailurePolicyOnPodConditionsPattern[]): string | undefined {
  const fulfils = ({ type, status }: PodCondition): boolean =>
    patterns.some((pattern) => pattern.type === type && (pattern.status ?? 'True') === status)
  const found = pod.status?.conditions?.find(fulfils)
  const { namespace = '', name = '' } = pod.metadata ?? {}
  return found === undefined ? undefined : `Pod ${namespace}/${name} has condition ${found.type}`
}

/** Why a job counts as successful before all its indexes have succeeded; undefined while it does not. */
export function judgeSuccess(
  policy: SuccessPolicy | undefined,
  succeeded: Indexes,
  completions: number,
): string | undefined {
  if (succeeded.length === 0) return undefined
  const index = (policy?.rules ?? []).findIndex(({ succeededIndexes, succeededCount = Infinity }) => {
    if (succeededIndexes === undefined) return countIndexes(succeeded) >= succeededCount
    const wanted = parseIndexes(succeededIndexes, completions)
    if (wanted.length === 0) return false
    const shared = countShared(wanted, succeeded)
    return shared === countIndexes(wanted) || shared >= succeededCount
  })
  return index < 0 ? undefined : `Matched rules at index ${index}`
}
