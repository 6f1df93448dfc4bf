// Writes as fast as it can and prints "<id> <revision>" for every write that is acknowledged or told to a watcher, until it is killed.
import { openStore } from '../store.ts'

const [dir = '', round = '0'] = process.argv.slice(2)
const store = await openStore({ dir, segmentBytes: 64 * 1024, snapshotAfterBytes: 200_000 })
store.subscribe('pods', undefined, ({ entry }) => process.stdout.write(`${entry.id} ${entry.revision}\n`))
await Promise.all(Array.from({ length: 16 }, (_, worker) => write(worker)))

async function write(worker: number): Promise<void> {
  for (let n = 0; ; n += 1) {
    const id = `r${round}/w${worker}-${n % 50}`
    const entry = await store.put('pods', id, (revision) => Buffer.from(JSON.stringify({ revision, pad: 'x'.repeat(700) })))
    process.stdout.write(`${id} ${entry.revision}\n`)
  }
}
