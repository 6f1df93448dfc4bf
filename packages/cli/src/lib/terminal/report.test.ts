import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { exitCodeOf, renderError } from './report.ts'

const plain = (_: string, text: string): string => text

describe('renderError', () => {
  it('prints message, causes indented, hint, and where more is told', () => {
    const inner = new Error('connect ECONNREFUSED', { cause: new Error('the peer said no') })
    const error = Object.assign(new Error('Cannot push "app:1": no answer', { cause: inner }), {
      code: 'FAIRLEAD_OCI_PUSH',
      hint: 'Try again',
    })
    assert.equal(
      renderError(error, plain, { stack: false }),
      [
        'error: Cannot push "app:1": no answer',
        '  connect ECONNREFUSED',
        '    the peer said no',
        'hint: Try again',
        'more: fairlead explain FAIRLEAD_OCI_PUSH',
      ].join('\n'),
    )
  })

  it('prints every part of an aggregate, with all its lines', () => {
    const error = new AggregateError([new Error('first\n| log line'), new Error('second')], 'Cannot start "a", "b"')
    assert.equal(
      renderError(error, plain, { stack: false }),
      ['error: Cannot start "a", "b"', '  first', '  | log line', '  second'].join('\n'),
    )
  })

  it('does not repeat a cause that the message tells in full', () => {
    const cause = new Error('Build failed:\n  src/main.ts:5\n', { cause: new Error('Unexpected token') })
    const error = new Error('Cannot bundle "/web": Build failed:\n  src/main.ts:5', { cause })
    assert.equal(
      renderError(error, plain, { stack: false }),
      'error: Cannot bundle "/web": Build failed:\n  src/main.ts:5\n  Unexpected token',
    )
  })

  it('does not send to explain for a code of another program', () => {
    const error = Object.assign(new Error('no such file'), { code: 'ENOENT' })
    assert.equal(renderError(error, plain, { stack: false }), 'error: no such file')
  })

  it('prints the stack when asked', () => {
    assert.match(renderError(new Error('x'), plain, { stack: true }), /\n {4}at /)
  })
})

describe('exitCodeOf', () => {
  const cases: [string, number][] = [
    ['FAIRLEAD_CLI_USAGE', 2],
    ['FAIRLEAD_DELIVERY_APP_INVALID', 2],
    ['FAIRLEAD_BUILD_LOCKFILE', 2],
    ['FAIRLEAD_CLI_PORT_IN_USE', 1],
    ['ENOENT', 1],
  ]
  for (const [code, expected] of cases) {
    it(`is ${expected} for ${code}`, () => assert.equal(exitCodeOf(Object.assign(new Error('x'), { code })), expected))
  }
  it('is 1 for what is no error', () => assert.equal(exitCodeOf('text'), 1))
})
