import type { ControllerRevision } from '@fairlead/kube/types/apps-v1'

import { isEqual } from '../metadata.ts'
import { defineRules } from './define.ts'
import type { Rules } from './define.ts'
import { immutable, nonNegative, required } from './field-errors.ts'

/** What a controller wrote down of a template: it may be numbered anew, never changed. */
export const controllerRevision: Rules = defineRules<ControllerRevision>({
  validate: ({ revision, data }, old) => [
    ...nonNegative('revision', revision),
    ...(data === undefined ? [required('data', 'data is mandatory')] : []),
    ...(old === undefined ? [] : immutable('data', data, isEqual(data, old.data))),
  ],
})
