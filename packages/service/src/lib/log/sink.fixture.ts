import { writeSync } from 'node:fs'
import { logCrashes } from './crash.ts'
import { createLogger } from './logger.ts'

/** Programs for the tests of the sink: lines go to standard output, what the test wants to know to standard error. */
const mode = process.argv[2]
const log = createLogger({ fields: { service: 'fixture' } })
const tell = (text: string): void => void writeSync(2, `${text}\n`)
let beats = 0
const beat = (isOver: boolean): void =>
  tell(JSON.stringify({ beats, isOver, dropped: log.stats.dropped, heapUsed: process.memoryUsage().heapUsed }))

switch (mode) {
  // Writes much more than anything holds, while a timer shows that the event loop turns; ends on SIGTERM.
  case 'flood': {
    const filler = 'x'.repeat(1000)
    let number = 0
    const timer = setInterval(() => {
      beats += 1
      for (let line = 0; line < 200; line++) log.info('flood', { number: number++, filler })
      if (beats % 20 === 0) beat(false)
    }, 1)
    process.on('SIGUSR2', () => {
      clearInterval(timer)
      beat(true)
      setInterval(() => log.info('after the flood'), 5)
    })
    process.on('SIGTERM', () => process.exit(0))
    break
  }
  case 'exit':
    for (let line = 0; line < 500; line++) log.info('last words', { line, filler: 'x'.repeat(200) })
    process.exit(3)
  // eslint-disable-next-line no-fallthrough
  case 'throws':
  case 'rejects':
    logCrashes(log)
    log.info('before')
    setTimeout(() => {
      const error = Object.assign(new Error('cannot reach postgres://app:hunter2@db/orders'), { password: 'hunter2' })
      if (mode === 'throws') throw error
      void Promise.reject(error)
    }, 1)
    setInterval(() => {}, 1000)
    break
  default:
    tell('unknown mode')
}
