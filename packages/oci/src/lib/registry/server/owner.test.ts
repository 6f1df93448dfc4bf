import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { sendTo, startTestRegistry } from './registry-fixture.ts'

const uid = process.platform === 'linux' ? process.getuid?.() : undefined
const password = 'x'.repeat(43)
const login = (name: string, word: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${name}:${word}`).toString('base64')}`,
})

describe('a registry with an owner', () => {
  const skip = uid === undefined && 'the kernel does not tell who connects'

  it('lets programs of its owner push without a login', { skip }, async () => {
    await using test = await startTestRegistry({ owner: { name: 'me', uid }, anonymous: 'pull' })
    assert.equal((await test.send('GET', '/v2/')).status, 200)
    await test.pushImage('team/app', '1', 'content')
    assert.equal((await test.send('DELETE', '/v2/team/app/manifests/1')).status, 202)
  })

  it('lets others only pull, who log in as the owner do everything', async () => {
    // Nobody connects as this user, except root, who owns everything: the table of another process is not to be had here.
    await using test = await startTestRegistry({ owner: { name: 'me', password }, anonymous: 'pull' })
    const push = (headers: Record<string, string>): Promise<{ status: number }> =>
      test.send('POST', '/v2/team/app/blobs/uploads/', { headers })
    assert.equal((await push({})).status, 401)
    assert.equal((await push(login('me', 'wrong'))).status, 401)
    assert.equal((await push(login('you', password))).status, 401)
    assert.equal((await push(login('me', password))).status, 202)
    assert.equal((await test.send('GET', '/v2/team/app/tags/list')).status, 404)
    const challenge = (await test.send('GET', '/v2/')).headers.get('www-authenticate') ?? ''
    const realm = /realm="([^"]+)"/.exec(challenge)?.[1] ?? ''
    const ask = `${realm}?scope=repository:team/app:pull,push`
    const { origin, pathname, search } = new URL(ask)
    const token = async (headers: Record<string, string>): Promise<string> =>
      String((await sendTo(origin, 'GET', pathname + search, { headers })).json()['token'])
    assert.equal((await push({ authorization: `Bearer ${await token({})}` })).status, 401)
    assert.equal((await push({ authorization: `Bearer ${await token(login('me', password))}` })).status, 202)
  })

  it('is everybody to nobody where it has neither a user nor a password', async () => {
    await assert.rejects(startTestRegistry({ owner: { name: 'me' } }), { code: 'FAIRLEAD_OCI_REGISTRY_SETTING' })
  })
})
