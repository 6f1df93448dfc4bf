// What Kubernetes 1.36.3 says of objects that are created, or that replace `old`: the findings, word for word, or the
// object as it is stored. The answers come from upstream's own strategies; docs/conformance.md tells how to repeat it.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findKind } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'

import { strategyOf } from './strategy-of.ts'
import cases from './testdata/validation.json' with { type: 'json' }

interface Cause {
  readonly field: string
  readonly reason: string
  readonly message: string
}

interface Case {
  readonly name: string
  readonly old?: KubeObject
  readonly object: KubeObject
  readonly causes?: readonly Cause[]
  readonly stored?: object
}

describe('strategyOf, beside upstream', () => {
  for (const each of cases as readonly unknown[] as readonly Case[]) {
    it(each.name, () => {
      const { causes, stored } = judge(structuredClone(each))
      assert.deepEqual(comparable(causes), comparable(each.causes ?? []))
      if (each.stored !== undefined) assert.deepEqual(stored, each.stored)
    })
  }
})

function judge({ object, old }: Case): { causes: Cause[]; stored: object } {
  const kind = findKind(object.apiVersion, object.kind)
  assert.ok(kind)
  const strategy = strategyOf(kind)
  if (old === undefined) strategy.create?.(object)
  else {
    strategy.create?.(old)
    strategy.default?.(old)
    strategy.update?.(object, old)
  }
  strategy.default?.(object)
  const causes = strategy.validate?.(object, old) ?? []
  const { metadata: _metadata, status: _status, ...stored } = object
  return { causes: causes.map(({ field, reason, message }) => ({ field, reason, message })), stored }
}

/** Upstream shows objects with the field names of Go, a letter of the secret that is no JSON, and the difference of pods. */
function comparable(causes: readonly Cause[]): string[] {
  return causes
    .map(({ field, reason, message }) => `${field} ${reason} ${message}`)
    .map((text) =>
      text
        .replace(/ value: \{.*\}(?=:|$)/s, ' value: {}')
        .replace(/ character '.' /, ' character ')
        .replace(/\n.*/s, ''),
    )
    .toSorted()
}
