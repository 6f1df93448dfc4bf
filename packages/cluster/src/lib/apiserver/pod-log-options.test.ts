import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { checkLogOptions } from './pod-log-options.ts'
import { StatusError } from './status.ts'

const refused: readonly { query: string; code: number; message: string }[] = [
  { query: 'tailLines=x', code: 400, message: 'strconv.ParseInt: parsing "x": invalid syntax' },
  {
    query: 'tailLines=-1',
    code: 422,
    message: 'PodLogOptions "web" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0',
  },
  {
    query: 'limitBytes=0',
    code: 422,
    message: 'PodLogOptions "web" is invalid: limitBytes: Invalid value: 0: must be greater than 0',
  },
  {
    query: 'sinceSeconds=0',
    code: 422,
    message: 'PodLogOptions "web" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0',
  },
  {
    query: 'stream=stdin',
    code: 422,
    message:
      'PodLogOptions "web" is invalid: stream: Unsupported value: "stdin": supported values: "All", "Stderr", "Stdout"',
  },
]

describe('checkLogOptions', () => {
  for (const { query, code, message } of refused) {
    it(`refuses ${query}`, () => {
      const isIt = (error: unknown): boolean =>
        error instanceof StatusError && error.status.code === code && error.status.message === message
      assert.throws(() => checkLogOptions(new URLSearchParams(query), 'web'), isIt)
    })
  }

  it('refuses two beginnings, a time that is none, and the tail of one stream', () => {
    const time = '2026-01-01T00:00:00Z'
    const check = (query: string) => (): void => checkLogOptions(new URLSearchParams(query), 'web')
    assert.throws(check(`sinceSeconds=1&sinceTime=${time}`), /at most one of `sinceTime` or `sinceSeconds`/)
    assert.throws(check('sinceTime=yesterday'), /parsing time "yesterday"/)
    assert.throws(check('stream=Stderr&tailLines=1'), /mutually exclusive/)
    assert.doesNotThrow(check(`sinceTime=${time}&tailLines=0&limitBytes=1&stream=All&timestamps=true`))
  })
})
