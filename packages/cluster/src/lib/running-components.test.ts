import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { RunningComponents } from './running-components.ts'

describe('RunningComponents', () => {
  const problems = (components: RunningComponents): unknown[] => components.all.map(({ problem }) => problem())

  it('tells of components from before they start to after they end', async () => {
    const components = new RunningComponents(['scheduler', 'controller-manager'])
    assert.deepEqual(problems(components), ['scheduler is not running yet', 'controller-manager is not running yet'])
    const scheduler = Promise.withResolvers<void>()
    const controllers = Promise.withResolvers<void>()
    components.follow('scheduler', scheduler.promise)
    components.follow('controller-manager', controllers.promise)
    assert.deepEqual(problems(components), [undefined, undefined])
    scheduler.resolve()
    controllers.reject(new Error('out of luck'))
    await assert.rejects(controllers.promise, { message: 'out of luck' })
    assert.deepEqual(problems(components), ['scheduler has ended', 'out of luck'])
  })
})
