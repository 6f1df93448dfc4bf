import type { Taint, Toleration } from '@fairlead/kube/types/core-v1'

/** Whether a pod with this toleration may be on a node with this taint. An empty effect tolerates every effect; `Exists` without a key tolerates everything. */
export function toleratesTaint(
  { key = '', operator = 'Equal', value = '', effect = '' }: Toleration,
  taint: Taint,
): boolean {
  if ((effect !== '' && effect !== taint.effect) || (key !== '' && key !== taint.key)) {
    return false
  }
  return operator === 'Exists' || (key !== '' && value === (taint.value ?? ''))
}
