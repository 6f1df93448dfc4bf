// Works on a store until it is killed, and says after each step what is done: `crash-program.fixture.ts STORE UPSTREAM SEED`.
import { openLayout } from '../../layout/layout.ts'
import { addImage } from '../client.fixture.ts'
import { createRegistryClient } from '../client.ts'
import { parseLifecyclePolicy } from '../lifecycle/policy.ts'
import { pruneStore } from '../lifecycle/prune.ts'
import { pullTree } from '../pull.ts'
import { pushImage } from '../push.ts'
import { serveRegistry } from './server.ts'

const [, , dir = '', upstream = '', seed = ''] = process.argv
const layout = await openLayout(dir)
const own = await openLayout(`${dir}-pushed-from`)
const registry = await serveRegistry({ dir, collect: { everyMs: 15, graceMs: 2000 } })
const client = createRegistryClient({ retries: 0 })
/** Of images that went from elsewhere, the newest stays. */
const selection = { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 }
const policy = parseLifecyclePolicy(
  JSON.stringify({ rules: [{ rulePriority: 1, selection, action: { type: 'expire' } }] }),
)

say('ready')
for (let at = 0; ; at += 1) {
  const name = `${seed.slice(2, 8)}-${at}`
  // Several at once, as on any machine.
  await Promise.all([build(name), push(name), pull(at)])
  say('pruning')
  await pruneStore(registry.store, { policy, apply: true, repository: 'old-*' })
  say('pruned')
}

async function build(name: string): Promise<void> {
  for (const repository of ['built', 'old-built']) {
    await addImage(layout, `localhost/${repository}:${name}`, [Buffer.alloc(100_000, `built ${name}`)])
    say(`built localhost/${repository}:${name}`)
  }
}

async function push(name: string): Promise<void> {
  await addImage(own, 'localhost/from:1', [Buffer.alloc(150_000, `pushed ${name}`)])
  for (const repository of ['pushed', 'old-pushed']) {
    await pushImage('localhost/from:1', `${registry.address}/${repository}:${name}`, { layout: own, client })
    say(`pushed localhost/${repository}:${name}`)
  }
}

async function pull(at: number): Promise<void> {
  const reference = `${upstream}/from:${at % 8}`
  await pullTree(reference, { layout, client })
  say(`pulled ${reference}`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
