import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Command, defineCommand } from './command.ts'
import { parseChoice, parseCommand, parseInteger, parseTimeout } from './parse-command.ts'

const command: Command = defineCommand({
  name: 'serve',
  summary: 'serve',
  args: ['FILE', '[dir]'],
  options: {
    port: { type: 'string', short: 'p', value: 'N', help: 'a port' },
    json: { type: 'boolean', help: 'as JSON' },
    secret: { type: 'boolean', help: 'for ourselves', hidden: true },
  },
  examples: [],
  async run() {},
})

describe('parseCommand', () => {
  it('fills every option', () => {
    assert.deepEqual(parseCommand(command, ['a', '-p', '80']), {
      help: false,
      options: { port: '80', json: false, secret: false },
      args: ['a'],
    })
  })

  it('asks for help before it asks for arguments', () => {
    assert.deepEqual(parseCommand(command, ['--help']), { help: true })
  })

  const wrong = [
    {
      name: 'an unknown option',
      words: ['a', '--prot', '80'],
      message: 'Cannot run "fairlead serve": there is no option "--prot"',
      hint: /^Did you mean --port\? /,
    },
    {
      name: 'an option without its value',
      words: ['a', '--port'],
      message: `Cannot run "fairlead serve": option '-p, --port <value>' argument missing`,
      hint: /--help/,
    },
    {
      name: 'a flag with a value',
      words: ['a', '--json=yes'],
      message: `Cannot run "fairlead serve": option '--json' does not take an argument`,
      hint: /--help/,
    },
    {
      name: 'a missing argument',
      words: [],
      message: 'Cannot run "fairlead serve": the argument FILE is missing',
      hint: /--help/,
    },
    {
      name: 'an argument too many',
      words: ['a', 'b', 'c'],
      message: 'Cannot run "fairlead serve": the argument "c" is one too many',
      hint: /--help/,
    },
    {
      name: 'a hidden option misspelled',
      words: ['a', '--secrte'],
      message: 'Cannot run "fairlead serve": there is no option "--secrte"',
      hint: /^Run /,
    },
  ]
  for (const { name, words, message, hint } of wrong) {
    it(`refuses ${name}`, () => {
      assert.throws(() => parseCommand(command, words), { code: 'FAIRLEAD_CLI_USAGE', message, hint })
    })
  }
})

describe('parseInteger', () => {
  it('takes a number within bounds', () => assert.equal(parseInteger('port', '80', 1, 65535), 80))
  it('passes on what was not given', () => assert.equal(parseInteger('port', undefined, 1, 65535), undefined))
  for (const text of ['0', '65536', '8.5', '-1', 'x', '']) {
    it(`refuses "${text}"`, () =>
      assert.throws(() => parseInteger('port', text, 1, 65535), { code: 'FAIRLEAD_CLI_USAGE' }))
  }
})

describe('parseTimeout', () => {
  const cases: [string, number][] = [
    ['90', 90_000],
    ['90s', 90_000],
    ['1.5m', 90_000],
    ['200ms', 200],
  ]
  for (const [text, expected] of cases) it(text, () => assert.equal(parseTimeout('timeout', text), expected))
  for (const text of ['0', 'soon', '-1s', '2d']) {
    it(`refuses "${text}"`, () => assert.throws(() => parseTimeout('timeout', text), { code: 'FAIRLEAD_CLI_USAGE' }))
  }
})

describe('parseChoice', () => {
  it('takes one of the choices', () => assert.equal(parseChoice('runtime', 'runc', ['auto', 'runc']), 'runc'))
  it('passes on what was not given', () => assert.equal(parseChoice('runtime', undefined, ['auto']), undefined))
  it('refuses another', () =>
    assert.throws(() => parseChoice('runtime', 'docker', ['auto', 'runc']), {
      code: 'FAIRLEAD_CLI_USAGE',
      message: 'Cannot use "--runtime docker": expected one of auto, runc',
    }))
})
