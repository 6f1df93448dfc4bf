// The check that runs after every end-to-end test: what it can see, and that `fairlead down` leaves nothing of it.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { findLeaks, footprintOf } from './support/leaks.ts'
import { createKubectl, eventually, Home, missing } from './support/machine.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

describe('findLeaks', { skip }, () => {
  it('sees all that a running cluster puts on the machine, and nothing after it was taken down', async () => {
    await using home = new Home()
    await home.fairleadOk(['cluster', 'start'])
    const kubectl = createKubectl(await home.kubeconfig(), home.dir)
    const built = await home.fairleadOk(['build', 'examples/shop/web', '--json'])
    const { images } = JSON.parse(built.stdout) as { images: readonly [{ reference: string }] }
    await kubectl(`run web --image=${images[0].reference} --restart=Never`)
    await eventually('the pod runs', async () => (await kubectl('get pod web -o name')) !== '')
    await kubectl('wait pod/web --for=jsonpath={.status.phase}=Running --timeout=180s')

    const footprint = footprintOf(home.env['FAIRLEAD_HOME'] ?? '')
    const kinds = (await findLeaks(footprint)).map((line) => line.replace(/ \S*\/.*$| \d+ .*$| \S+$/, ''))
    for (const kind of ['network namespace', 'network device', 'mount', 'control group', 'process', 'folder']) {
      assert.ok(kinds.includes(kind), `a ${kind} is seen among ${[...new Set(kinds)].join(', ')}`)
    }
    assert.match((await findLeaks(footprint)).join('\n'), /^nftables table ip fairlead-/m)

    await home.fairleadOk(['down', '--purge'])
    await eventually('nothing is left', async () => (await findLeaks(footprint)).length === 0)
  })
})
