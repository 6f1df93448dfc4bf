import { setTimeout as sleep } from 'node:timers/promises'
import { resource } from '../lifecycle/resource.ts'
import { service } from './definition.ts'
import { run } from './run.ts'

/** A service for the tests of run(), with the misbehaviour that the first argument names. */
const mode = process.argv[2]

const thing = resource(
  async ({ log, signal }) => {
    if (mode === 'no-start') throw new Error('refused')
    if (mode === 'slow-start') {
      log.info('starting slowly')
      await sleep(60_000, undefined, { signal })
    }
    return log
  },
  {
    stop(log) {
      if (mode === 'no-stop') throw new Error('stuck')
      log.info('released')
    },
  },
)

if (mode === 'leaky') setInterval(() => {}, 1000)
if (mode === 'throws') setTimeout(() => fail(), 50)
if (mode === 'rejects') setTimeout(() => void Promise.reject(new Error('escaped')), 50)

await run(
  service({
    name: 'fixture',
    use: { thing },
    async fetch(_request, { log }) {
      if (mode !== 'stuck') return 'hello'
      log.info('stuck')
      return await new Promise(() => {})
    },
  }),
)

function fail(): never {
  throw new Error('escaped')
}
