import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseReference } from '../spec/reference.ts'
import { findDockerAuths, parseDockerAuths } from './credentials-docker.ts'

const entry = (name: string): { auth: string } => ({ auth: Buffer.from(`${name}:pw`).toString('base64') })

/** Names of those whose entries fit, in order; each entry's user is named after its key. */
function usersFor(image: string, keys: readonly string[]): string[] {
  const auths = Object.fromEntries(keys.map((key) => [key, { username: key, password: 'pw' }]))
  const parsed = parseDockerAuths(JSON.stringify({ auths }), 'test')
  return findDockerAuths(parsed, parseReference(image)).map(({ username }) => username)
}

describe('findDockerAuths', () => {
  const cases = [
    { name: 'a host', image: 'r.example/team/app', keys: ['r.example', 'other.example'], expected: ['r.example'] },
    { name: 'a port that is another', image: 'r.example:5000/app', keys: ['r.example'], expected: [] },
    {
      name: 'paths, the most exact first',
      image: 'r.example/team/app',
      keys: ['r.example', 'r.example/team', 'r.example/other', 'r.example/team/app'],
      expected: ['r.example/team/app', 'r.example/team', 'r.example'],
    },
    {
      name: 'addresses of version 1 and 2',
      image: 'r.example/app',
      keys: ['https://r.example/v1/', 'http://r.example/v2/'],
      expected: ['https://r.example/v1/', 'http://r.example/v2/'],
    },
    {
      name: 'a star, within one part of the host',
      image: 'a.b.example/app',
      keys: ['*.b.example', '*.example', '*.*.example', 'a*.b.example'],
      expected: ['a*.b.example', '*.b.example', '*.*.example'],
    },
    {
      name: 'the names of Docker Hub',
      image: 'nginx',
      keys: ['https://index.docker.io/v1/', 'docker.io/library', 'r.example'],
      expected: ['https://index.docker.io/v1/', 'docker.io/library'],
    },
    { name: 'dots that are no pattern', image: 'rXexample/app:1'.toLowerCase(), keys: ['r.example'], expected: [] },
  ]
  for (const { name, image, keys, expected } of cases) {
    it(`knows ${name}`, () => assert.deepEqual(usersFor(image, keys), expected))
  }
})

describe('parseDockerAuths', () => {
  it('reads both forms', () => {
    const auths = { 'r.example': entry('ada') }
    for (const value of [{ auths }, auths]) {
      const [found] = parseDockerAuths(JSON.stringify(value), 'test')
      assert.deepEqual(
        [found?.place, found?.credentials.username, found?.credentials.password],
        ['r.example', 'ada', 'pw'],
      )
    }
  })

  it('refuses what is none, without a word of its content', () => {
    for (const text of [
      '{"auths": "hunter2"',
      '[]',
      '{"auths": 3}',
      '{"auths":{"r.example":{"auth":"aHVudGVyMg=="}}}',
    ]) {
      assert.throws(
        () => parseDockerAuths(text, 'secret a/b'),
        ({ code, message }: NodeJS.ErrnoException) =>
          code === 'FAIRLEAD_OCI_CREDENTIALS' && message.includes('secret a/b') && !/hunter2|aHVud/.test(message),
      )
    }
  })
})
