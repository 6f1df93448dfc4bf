// Nanoseconds per log line, pino beside ours: the same fields, the same sink (first one that takes the line and forgets it, then
// /dev/null by each one's own buffered file sink). The line of each is parsed first, to see that it holds the same facts.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { openSync } from 'node:fs'
import { createFileSink, createLogger } from '@fairlead/service/log'
import type { Logger, LoggerOptions } from '@fairlead/service/log'
import { destination, pino } from 'pino'
import type { DestinationStream, Logger as Pino, LoggerOptions as PinoOptions } from 'pino'
import { figureOf, median, report } from '../report.ts'
import type { Figure } from '../report.ts'

const rounds = 15
const linesPerRound = 20_000

const fields = {
  sku: 'mug-01',
  quantity: 2,
  route: '/products/:id',
  status: 200,
  duration_ms: 1.234,
}
const bound = { service: 'catalog', version: '1.2.3' }
const request = {
  request_id: '0192f8b3-7c1e-7d4a-9f10-3b5a6c7d8e9f',
  trace_id: '0af7651916cd43dd8448eb211c80319c',
  span_id: 'b7ad6b7169203331',
}
const scope = new AsyncLocalStorage<typeof request>()
const nested = { order: { id: 'o-17', items: [{ sku: 'mug-01', quantity: 2 }], total: 12.5 } }
const failure = new TypeError('no route to host')

interface Case {
  readonly name: string
  readonly context?: boolean
  readonly bound?: boolean
  readonly redact?: boolean
  ours(log: Logger): void
  theirs(log: Pino): void
}

const cases: readonly Case[] = [
  {
    name: '5 fields',
    ours: (log) => log.info('product sold', fields),
    theirs: (log) => log.info(fields, 'product sold'),
  },
  {
    name: '5 fields, child',
    bound: true,
    ours: (log) => log.info('product sold', fields),
    theirs: (log) => log.info(fields, 'product sold'),
  },
  {
    name: '5 fields, child, request context',
    bound: true,
    context: true,
    ours: (log) => log.info('product sold', fields),
    theirs: (log) => log.info(fields, 'product sold'),
  },
  {
    name: '5 fields, redaction of password',
    redact: true,
    ours: (log) => log.info('product sold', { ...fields, password: 'hunter2' }),
    theirs: (log) => log.info({ ...fields, password: 'hunter2' }, 'product sold'),
  },
  {
    name: 'nested object',
    ours: (log) => log.info('order placed', nested),
    theirs: (log) => log.info(nested, 'order placed'),
  },
  {
    name: 'error',
    ours: (log) => log.info('failed', { err: failure }),
    theirs: (log) => log.info({ err: failure }, 'failed'),
  },
  {
    name: 'below the level',
    ours: (log) => log.debug('product sold', fields),
    theirs: (log) => log.debug(fields, 'product sold'),
  },
]

const figures: Figure[] = []
scope.run(request, () => {
  for (const each of cases) figures.push(measure(each, 'no sink', forget(), forget()))
  const devNull = openSync('/dev/null', 'w')
  const theirFile = destination({ dest: '/dev/null', minLength: 16 * 1024 - 1, sync: true })
  const [first, , third] = cases
  for (const each of [first, third])
    if (each) figures.push(measure(each, '/dev/null', createFileSink(devNull), theirFile))
})
report('log', figures)

function measure(each: Case, sinkName: string, ourSink: LoggerOptions['sink'], theirSink: DestinationStream): Figure {
  assert.deepEqual(factsOf(ourLine(each)), factsOf(theirLine(each)), each.name)
  const ours = ourLogger(each, ourSink)
  const theirs = theirLogger(each, theirSink)
  const samples: number[] = []
  const peers: number[] = []
  // In turns, so that what else the machine does falls on both.
  for (let round = -5; round < rounds; round++) {
    const our = time(() => each.ours(ours))
    const their = time(() => each.theirs(theirs))
    if (round < 0) continue
    samples.push(our)
    peers.push(their)
  }
  return {
    ...figureOf(`${each.name} (${sinkName})`, 'ns', samples),
    target: median(peers),
    peer: { name: 'pino', value: median(peers) },
  }
}

function time(work: () => void): number {
  const startedAt = process.hrtime.bigint()
  for (let line = 0; line < linesPerRound; line++) work()
  return Number(process.hrtime.bigint() - startedAt) / linesPerRound
}

function ourLogger(each: Case, sink: LoggerOptions['sink']): Logger {
  const log = createLogger({ sink, context: each.context ? () => scope.getStore() : undefined })
  return each.bound ? log.child(bound) : log
}

function theirLogger(each: Case, sink: DestinationStream): Pino {
  const options: PinoOptions = {
    base: null,
    timestamp: () => `,"time":"${new Date(Date.now()).toISOString()}"`,
    formatters: { level: (level) => ({ level }) },
    ...(each.context
      ? {
          // A copy, because pino assigns the fields of the line to it.
          mixin: () => ({ ...scope.getStore() }),
        }
      : {}),
    ...(each.redact ? { redact: { paths: ['password'], censor: '[redacted]' } } : {}),
  }
  const log = pino(options, sink)
  return each.bound ? log.child(bound) : log
}

function ourLine(each: Case): string {
  let text = ''
  each.ours(ourLogger(each, { write: (line) => (text = line), flush() {} }))
  return text
}

function theirLine(each: Case): string {
  let text = ''
  each.theirs(theirLogger(each, { write: (line: string) => (text = line) }))
  return text
}

/** Without what differs by nature: the time. */
function factsOf(line: string): unknown {
  if (line === '') return undefined
  const { time: _, ...facts } = JSON.parse(line) as Record<string, unknown>
  return facts
}

/** Takes lines as cheaply as can be without letting the compiler leave them out. */
function forget(): { write(line: string): void; flush(): void } {
  let length = 0
  return {
    write(line) {
      length += line.length
    },
    flush() {
      if (length < 0) throw new Error('unreachable')
    },
  }
}
