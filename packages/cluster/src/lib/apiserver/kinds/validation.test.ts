// What Kubernetes 1.36.3 says of objects that are created, or that replace `old` or a part of it: the findings, word for word, or the
// object as it is stored. The answers come from upstream's own strategies; docs/conformance.md tells how to repeat it.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findKind } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'

import { replacePart } from '../replace-part.ts'
import type { Resource } from '../resource.ts'
import type { FieldError } from '../status.ts'
import { strategyOf } from './strategy-of.ts'
import cases from './testdata/validation.json' with { type: 'json' }

interface Cause {
  readonly field: string
  readonly reason: string
  readonly message: string
}

interface Case {
  readonly name: string
  readonly part?: 'status' | 'approval'
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

function judge({ object, old, part }: Case): { causes: Cause[]; stored: object } {
  const info = findKind(object.apiVersion, object.kind)
  assert.ok(info)
  const strategy = strategyOf(info)
  if (part !== undefined && old !== undefined) return judgePart({ info, strategy }, part, object, old)
  if (old === undefined) strategy.create?.(object)
  else {
    strategy.create?.(old)
    strategy.default?.(old)
    strategy.update?.(object, old)
  }
  strategy.default?.(object)
  const causes = strategy.validate?.(object, old) ?? []
  const { metadata: _metadata, status: _status, ...stored } = object
  return { causes: toCauses(causes), stored }
}

function judgePart(
  resource: Pick<Resource, 'info' | 'strategy' | 'custom'>,
  part: 'status' | 'approval',
  object: KubeObject,
  old: KubeObject,
): { causes: Cause[]; stored: object } {
  const { strategy } = resource
  strategy.default?.(old)
  replacePart(resource, part, object, old)
  const ofStatus = part === 'status' ? strategy.validateStatus?.(object, old) : undefined
  const { metadata: _metadata, ...stored } = object
  return { causes: toCauses(ofStatus ?? strategy.validate?.(object, old) ?? []), stored }
}

function toCauses(errors: readonly FieldError[]): Cause[] {
  return errors.map(({ field, reason, message }) => ({ field, reason, message }))
}

/** Upstream shows objects with the field names of Go, a letter of the secret that is no JSON, and the difference of pods. */
function comparable(causes: readonly Cause[]): string[] {
  return causes
    .map(({ field, reason, message }) => `${field} ${reason} ${message}`)
    .map((text) =>
      text
        .replace(/ value: \[?\{.*\}\]?(?=:|$)/s, ' value: {}')
        .replace(/ character '.' /, ' character ')
        .replace(/\n.*/s, ''),
    )
    .toSorted()
}
