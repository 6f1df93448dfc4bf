import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BreakerOpenError, TimeoutError } from './errors.ts'
import { classifyError, createRetryBudget, createRetryDecider } from './retry.ts'
import type { RetryFailure, RetryOptions } from './retry.ts'

function delayOf(options: RetryOptions, failure: Partial<RetryFailure>): number | string {
  const decision = createRetryDecider(options).decide({
    error: new Error('broken'),
    attempts: 1,
    isIdempotent: true,
    previousDelayMs: 0,
    now: 0,
    deadline: Infinity,
    ...failure,
  })
  return 'delayMs' in decision ? decision.delayMs : decision.refusal
}

describe('createRetryDecider', () => {
  it('doubles the wait, up to its most', () => {
    const options = { jitter: 'none', retries: 9, maxDelayMs: 1000 } as const
    const waits = [1, 2, 3, 4, 5].map((attempts) => delayOf(options, { attempts }))
    assert.deepEqual(waits, [100, 200, 400, 800, 1000])
  })

  it('draws the wait from 0 with full jitter, and from the base with decorrelated', () => {
    assert.equal(delayOf({ random: () => 0 }, { attempts: 3 }), 0)
    assert.equal(delayOf({ random: () => 0.5 }, { attempts: 3 }), 200)
    const options = { jitter: 'decorrelated', random: () => 0.5 } as const
    assert.equal(delayOf(options, { previousDelayMs: 0 }), 200)
    assert.equal(delayOf(options, { previousDelayMs: 400 }), 650)
    assert.equal(delayOf({ ...options, random: () => 0 }, { previousDelayMs: 400 }), 100)
  })

  it('waits as long as it was told to, if that is bearable', () => {
    const error = Object.assign(new Error('busy'), { status: 503, retryAfterMs: 2000 })
    assert.equal(delayOf({}, { error }), 2000)
    assert.equal(delayOf({}, { error, deadline: 2000 }), 'too-late')
    assert.equal(delayOf({ maxRetryAfterMs: 1000 }, { error }), 'too-late')
  })

  it('ends with the tries, the deadline and the budget', () => {
    assert.equal(delayOf({ retries: 2 }, { attempts: 3 }), 'exhausted')
    assert.equal(delayOf({ jitter: 'none' }, { now: 950, deadline: 1000 }), 'too-late')
    assert.equal(delayOf({ budget: { minPerSecond: 0 } }, {}), 'budget')
  })

  it('repeats only what does no harm', () => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    assert.equal(delayOf({}, { isIdempotent: false }), 'final')
    assert.notEqual(delayOf({}, { isIdempotent: false, error: new Error('x', { cause: refused }) }), 'final')
  })
})

describe('classifyError', () => {
  for (const { name, error, expected } of [
    {
      name: 'a connection that was refused',
      error: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
      expected: 'always',
    },
    {
      name: 'a connection that broke',
      error: Object.assign(new Error('x'), { code: 'ECONNRESET' }),
      expected: 'idempotent',
    },
    {
      name: 'fetch without a connection',
      error: new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ENOTFOUND' }) }),
      expected: 'always',
    },
    { name: 'status 503', error: Object.assign(new Error('x'), { status: 503 }), expected: 'idempotent' },
    { name: 'status 501', error: Object.assign(new Error('x'), { status: 501 }), expected: 'never' },
    { name: 'status 404', error: Object.assign(new Error('x'), { status: 404 }), expected: 'never' },
    { name: 'a try out of time', error: new TimeoutError('x', 'attempt', 1), expected: 'idempotent' },
    { name: 'a call out of time', error: new TimeoutError('x', 'total', 1), expected: 'never' },
    { name: 'an open breaker', error: new BreakerOpenError('x'), expected: 'never' },
    { name: 'a mistake of the program', error: new TypeError('x is not a function'), expected: 'never' },
    { name: 'an abort', error: new DOMException('x', 'AbortError'), expected: 'never' },
    { name: 'anything else', error: 'oops', expected: 'idempotent' },
  ]) {
    it(`takes ${name} for ${expected}`, () => assert.equal(classifyError(error), expected))
  }
})

describe('createRetryBudget', () => {
  it('permits a fifth of the calls, and some per second', () => {
    const budget = createRetryBudget({ minPerSecond: 1, burst: 10 })
    assert.equal(budget.withdraw(0), true)
    assert.equal(budget.withdraw(0), false)
    for (let call = 0; call < 5; call += 1) budget.deposit()
    assert.equal(budget.withdraw(0), true)
    assert.equal(budget.withdraw(999), false)
    assert.equal(budget.withdraw(1000), true)
    for (let call = 0; call < 1000; call += 1) budget.deposit()
    assert.equal(budget.available, 10)
  })
})
