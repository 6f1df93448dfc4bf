import type { RuntimeClass } from '@fairlead/kube/types/node-v1'
import type { Toleration } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { defineRules } from './define.ts'
import type { Rules } from './define.ts'
import { duplicate, immutable, required } from './field-errors.ts'
import { dnsLabel, labels } from './names.ts'
import { validateTolerations } from './tolerations.ts'

export const runtimeClass: Rules = defineRules<RuntimeClass>({
  validate({ handler, scheduling }, old) {
    // Upstream judges an update by what may not change, not again by the rest.
    if (old !== undefined) return immutable('handler', handler, handler === old.handler)
    return [
      ...(handler === '' ? [required('handler')] : dnsLabel('handler', handler)),
      ...labels('scheduling.nodeSelector', scheduling?.nodeSelector),
      ...validateTolerations(scheduling?.tolerations ?? [], 'scheduling.tolerations'),
      ...repeated(scheduling?.tolerations ?? []),
    ]
  },
})

function repeated(tolerations: readonly Toleration[]): FieldError[] {
  const keys = tolerations.map(({ tolerationSeconds: _seconds, ...key }) => key)
  return tolerations.flatMap((toleration, index) =>
    keys.slice(0, index).some((key) => isEqual(key, keys[index]))
      ? [duplicate(`scheduling.tolerations[${index}]`, toleration)]
      : [],
  )
}
