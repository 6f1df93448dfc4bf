import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Container } from '@fairlead/kube/types/core-v1'

import { watchProbes } from './prober.ts'

/** Probes in a time of its own: `answers` says for each kind what the probe finds at a time. */
async function play(
  container: Omit<Container, 'name'>,
  answer: (kind: string, at: number) => boolean,
  untilMs: number,
  adopted?: { ready: boolean },
  { later = 0, takesMs = 0, hears = false, fastUntil = 0 } = {},
): Promise<string[]> {
  let now = 0
  const timers: { at: number; callback: () => void }[] = []
  const ended = new AbortController()
  const told: string[] = []
  const probes = {
    startup: container.startupProbe,
    readiness: container.readinessProbe,
    liveness: container.livenessProbe,
  }
  const work = watchProbes(
    { name: 'app', ...container },
    {
      clock: {
        now: () => (now < fastUntil ? now + 3_600_000 : now),
        schedule(delayMs, callback) {
          const timer = { at: now + delayMs, callback }
          timers.push(timer)
          return () => void timers.splice(timers.indexOf(timer), 1)
        },
      },
      signal: ended.signal,
      adopted,
      spread: () => later,
      run: async (probe) => {
        const kind = Object.entries(probes).find(([, one]) => one === probe)?.[0] ?? ''
        const begun = now
        now += takesMs
        return { ok: answer(kind, begun), message: '', isWarning: true }
      },
      onWarning: (kind) => hears && told.push(`${now} ${kind} warning`),
      onStarted: () => told.push(`${now} started`),
      onReady: (ready) => told.push(`${now} ${ready ? 'ready' : 'unready'}`),
      onFailure: (kind, _message, isFatal) => told.push(`${now} ${kind}${isFatal ? ' fatal' : ''}`),
    },
  )
  while (now < untilMs) {
    await new Promise((resolve) => setImmediate(resolve))
    const next = timers.toSorted((a, b) => a.at - b.at)[0]
    if (!next) break
    now = next.at
    timers.splice(timers.indexOf(next), 1)
    next.callback()
  }
  ended.abort()
  await work
  return told
}

const probe = { tcpSocket: { port: 1 }, periodSeconds: 10 }

describe('watchProbes', () => {
  it('takes a container without probes for ready at once', async () => {
    assert.deepEqual(await play({}, () => true, 1000), ['0 started', '0 ready'])
  })

  it('counts failures as before when the clock is set back', async () => {
    const told = await play({ startupProbe: probe }, () => false, 120_000, undefined, { fastUntil: 1000 })
    assert.match(told[2] ?? '', /^\d{5} startup fatal$/)
  })

  it('finds a container ready long before the next period', async () => {
    const told = await play({ readinessProbe: probe }, (_kind, at) => at >= 100, 5000)
    assert.equal(told[0], '0 started')
    const at = Number.parseInt(told[1] ?? '', 10)
    assert.ok(at >= 100 && at < 200 && told[1]?.endsWith(' ready'))
    assert.equal(told.length, 2)
  })

  it('counts early failures once a period', async () => {
    const told = await play({ startupProbe: { ...probe, failureThreshold: 3 } }, () => false, 60_000)
    const times = told.map((entry) => Math.round(Number.parseInt(entry, 10) / 10_000))
    assert.deepEqual(told.filter((entry) => entry.includes('fatal')).length, 1)
    assert.deepEqual(times.slice(0, 3), [1, 2, 3])
  })

  it('holds readiness back until startup has passed', async () => {
    const told = await play(
      { startupProbe: probe, readinessProbe: probe },
      (kind, at) => kind === 'readiness' || at > 3000,
      9000,
    )
    assert.match(told[0] ?? '', /^3\d\d\d started$/)
    assert.match(told[1] ?? '', /^3\d\d\d ready$/)
  })

  it('calls a container unready, and dead, after so many failures', async () => {
    const container = {
      readinessProbe: { ...probe, periodSeconds: 1, failureThreshold: 2 },
      livenessProbe: { ...probe, periodSeconds: 1, failureThreshold: 3 },
    }
    const told = await play(container, (_kind, at) => at < 2000, 6000)
    assert.deepEqual(told.slice(0, 2), ['0 started', '0 ready'])
    assert.ok(told.includes('3000 unready'))
    assert.ok(told.includes('4000 liveness fatal'))
  })

  it('believes an adopted container until a probe says otherwise', async () => {
    const told = await play(
      { startupProbe: probe, readinessProbe: { ...probe, periodSeconds: 1 } },
      () => false,
      4000,
      { ready: true },
    )
    assert.deepEqual(told.slice(0, 1), ['0 started'])
    assert.ok(told.includes('2000 unready'))
    assert.ok(!told.includes('0 unready'))
  })

  it('spreads probes of adopted containers over a period', async () => {
    const readinessProbe = { ...probe, failureThreshold: 1 }
    const told = await play({ readinessProbe }, () => false, 14_000, { ready: true }, { later: 0.3 })
    assert.deepEqual(told.slice(0, 3), ['0 started', '3000 readiness', '3000 unready'])
  })

  it('probes once a period however long an answer takes', async () => {
    const told = await play({ livenessProbe: probe }, (_kind, at) => at < 10_000, 45_000, undefined, { takesMs: 4000 })
    assert.deepEqual(told.slice(2), ['14000 liveness', '24000 liveness', '34000 liveness fatal'])
  })

  it('tells of successes that are odd', async () => {
    const told = await play({ readinessProbe: probe }, () => true, 5000, undefined, { hears: true })
    assert.deepEqual(told, ['0 started', '0 readiness warning', '0 ready'])
  })
})
