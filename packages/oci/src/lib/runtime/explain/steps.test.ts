import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { CgroupLayout } from '../cgroup.ts'
import { planSteps } from './steps.ts'

const tools = { sh: '/sh', env: '/env', mount: '/mount', rmdir: '/rmdir', setpriv: '/setpriv', umount: '/umount' }

function groupStep(layout: CgroupLayout): readonly string[] {
  const steps = planSteps({
    id: 'x',
    rootDir: '/r',
    layout,
    cgroupPath: '/a/b',
    memoryBytes: 64,
    pids: 8,
    uid: 1,
    gid: 2,
    loader: '/ld.so',
    libraries: '/lib',
    tools,
  })
  return steps.find(({ title }) => title === 'control group')?.script ?? []
}

describe('planSteps: the control group', () => {
  it('is one of each controller where there is version 1', () => {
    assert.deepEqual(groupStep('v1'), [
      'mkdir /sys/fs/cgroup/memory/a/b /sys/fs/cgroup/pids/a/b',
      'echo 64 > /sys/fs/cgroup/memory/a/b/memory.limit_in_bytes',
      'echo 8 > /sys/fs/cgroup/pids/a/b/pids.max',
      'echo $$ | tee /sys/fs/cgroup/memory/a/b/cgroup.procs > /sys/fs/cgroup/pids/a/b/cgroup.procs',
      'exec $NEXT',
    ])
  })

  it('is one of version 2 too where both are', () => {
    assert.deepEqual(groupStep('hybrid').slice(-3), [
      'mkdir /sys/fs/cgroup/unified/a/b',
      'echo $$ > /sys/fs/cgroup/unified/a/b/cgroup.procs',
      'exec $NEXT',
    ])
  })

  it('is the only one where there is version 2 alone, with its controllers asked for first', () => {
    const [enable = '', ...rest] = groupStep('v2')
    assert.match(enable, /\+memory \+pids.*cgroup\.subtree_control/)
    assert.deepEqual(rest, [
      'mkdir /sys/fs/cgroup/a/b',
      'echo 64 > /sys/fs/cgroup/a/b/memory.max',
      'echo 8 > /sys/fs/cgroup/a/b/pids.max',
      'echo $$ > /sys/fs/cgroup/a/b/cgroup.procs',
      'exec $NEXT',
    ])
  })
})
