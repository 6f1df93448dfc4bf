import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { connectFailed } from './errors.ts'
import { KubeError } from './kube-error.ts'
import { parseRetryAfter, retryDelayMs, withRetries } from './retry.ts'

const refusal = (code: number, retryAfterMs?: number): KubeError => new KubeError({ code }, code, { retryAfterMs })
const broken = (code: string): Error =>
  connectFailed('https://a', 'broke', 'wait', Object.assign(new Error(), { code }))

describe('retryDelayMs', () => {
  for (const [name, method, error, attempt, expected] of [
    ['waits as a busy server asks, whatever was sent', 'POST', refusal(429, 2000), 1, 2000],
    ['waits as a server that starts asks', 'PUT', refusal(503, 1000), 1, 1000],
    ['never waits past half a minute', 'GET', refusal(429, 3_600_000), 1, 30_000],
    ['takes a refusal without a time for an answer', 'GET', refusal(429), 1, undefined],
    ['takes a failure without a time for an answer', 'GET', refusal(500), 1, undefined],
    ['takes what is no refusal for an answer', 'GET', refusal(409, 1000), 1, undefined],
    ['reads again after a reset', 'GET', broken('ECONNRESET'), 1, 50],
    ['reads again after a reset, later each time', 'GET', broken('ECONNRESET'), 4, 400],
    ['does not write again after a reset', 'POST', broken('ECONNRESET'), 1, undefined],
    ['leaves a server that is not there', 'GET', broken('ECONNREFUSED'), 1, undefined],
  ] as const) {
    it(name, () => assert.equal(retryDelayMs(method, error, attempt), expected))
  }
})

describe('parseRetryAfter', () => {
  for (const [text, expected] of [
    ['3', 3000],
    ['0', 0],
    ['Thu, 01 Jan 1970 00:00:05 GMT', 4000],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ] as const) {
    it(`reads ${JSON.stringify(text)}`, () => assert.equal(parseRetryAfter(text, 1000), expected))
  }
})

describe('withRetries', () => {
  it('gives up after ten attempts with the last failure', async () => {
    let attempts = 0
    const run = async (): Promise<never> => {
      attempts += 1
      throw refusal(429, 0)
    }
    await assert.rejects(withRetries({ method: 'GET' }, run), { httpStatus: 429 })
    assert.equal(attempts, 10)
  })

  it('ends its wait when the signal aborts, with its reason', async () => {
    const stop = new AbortController()
    const waiting = withRetries({ method: 'GET', signal: stop.signal }, () => Promise.reject(refusal(503, 30_000)))
    stop.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
  })
})
