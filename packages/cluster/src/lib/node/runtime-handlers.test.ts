import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { checkRuntimeClass, describeHandlers } from './runtime-handlers.ts'

describe('checkRuntimeClass', () => {
  const handlers: Record<string, string> = { own: 'runc', other: 'gvisor' }
  const check = async (runtimeClassName?: string): Promise<void> => {
    const pod: Pod = { spec: { containers: [], ...(runtimeClassName === undefined ? {} : { runtimeClassName }) } }
    await checkRuntimeClass(
      pod,
      { version: 'runc://1.1.5' },
      {
        runtimeClass: async (name) => {
          const handler = handlers[name]
          return handler === undefined ? undefined : { handler }
        },
      },
    )
  }

  it('takes pods without a class, and those of the runtime there is', async () => {
    await check()
    await check('own')
  })

  it('takes no others, and says which runtime they want', async () => {
    await assert.rejects(check('other'), { message: /no runtime for "gvisor" is configured/ })
    await assert.rejects(check('none'), { message: /runtimeclass.node.k8s.io "none" not found/ })
  })
})

describe('describeHandlers', () => {
  it('names the runtime there is, and nothing for processes', () => {
    const names = describeHandlers('containers', 'crun://1.8').runtimeHandlers?.map(({ name }) => name)
    assert.deepEqual(names, ['', 'crun'])
    assert.deepEqual(describeHandlers('processes', 'process://24'), {})
  })
})
