import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { digestWith, startTestRegistry } from './registry-fixture.ts'

const octets = { 'content-type': 'application/octet-stream' }

describe('a registry: push of blobs', () => {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const content = 'content of a blob'
    const digest = digestWith(algorithm, content)

    it(`takes a blob in one POST (${algorithm})`, async () => {
      await using test = await startTestRegistry()
      const answer = await test.send('POST', `/v2/app/blobs/uploads/?digest=${digest}`, {
        body: content,
        headers: octets,
      })
      assert.equal(answer.status, 201)
      assert.equal(answer.headers.get('docker-content-digest'), digest)
      assert.equal((await test.send('GET', answer.headers.get('location') ?? '')).text, content)
      assert.deepEqual(await readdir(join(test.dir, 'registry', 'uploads')), [])
    })

    it(`takes a blob by POST and PUT (${algorithm})`, async () => {
      await using test = await startTestRegistry()
      const begun = await test.send('POST', '/v2/app/blobs/uploads/')
      assert.equal(begun.status, 202)
      const place = begun.headers.get('location') ?? ''
      const answer = await test.send('PUT', `${place}?digest=${digest}`, { body: content, headers: octets })
      assert.equal(answer.status, 201)
      assert.equal((await test.send('GET', `/v2/app/blobs/${digest}`)).text, content)
    })

    it(`takes a blob in chunks, the last with the PUT (${algorithm})`, async () => {
      await using test = await startTestRegistry()
      const begun = await test.send('POST', `/v2/app/blobs/uploads/?digest-algorithm=${algorithm}`)
      const place = begun.headers.get('location') ?? ''
      const chunk = (method: string, from: number, to: number, query = ''): ReturnType<typeof test.send> =>
        test.send(method, place + query, {
          body: content.slice(from, to),
          headers: { ...octets, 'content-range': `${from}-${to - 1}` },
        })
      const first = await chunk('PATCH', 0, 5)
      assert.deepEqual([first.status, first.headers.get('range')], [202, '0-4'])
      const wrong = await chunk('PATCH', 7, 9)
      assert.deepEqual([wrong.status, wrong.headers.get('range')], [416, '0-4'])
      const asked = await test.send('GET', place)
      assert.deepEqual([asked.status, asked.headers.get('range')], [204, '0-4'])
      assert.equal((await chunk('PATCH', 5, 9)).status, 202)
      const last = await chunk('PUT', 9, content.length, `?digest=${digest}`)
      assert.equal(last.status, 201, last.text)
      assert.equal((await test.send('GET', `/v2/app/blobs/${digest}`)).text, content)
    })
  }

  it('takes an empty blob', async () => {
    await using test = await startTestRegistry()
    const digest = digestOf('')
    const begun = await test.send('POST', '/v2/app/blobs/uploads/')
    assert.equal((await test.send('PUT', `${begun.headers.get('location')}?digest=${digest}`)).status, 201)
    const answer = await test.send('GET', `/v2/app/blobs/${digest}`)
    assert.deepEqual([answer.status, answer.text, answer.headers.get('content-length')], [200, '', '0'])
  })

  it('refuses content with another digest, and keeps none of it', async () => {
    await using test = await startTestRegistry()
    const digest = digestOf('this')
    const answer = await test.send('POST', `/v2/app/blobs/uploads/?digest=${digest}`, { body: 'that' })
    assert.deepEqual([answer.status, answer.json().errors[0].code], [400, 'DIGEST_INVALID'])
    assert.equal((await test.send('HEAD', `/v2/app/blobs/${digest}`)).status, 404)
    assert.deepEqual(await readdir(join(test.dir, 'registry', 'uploads')), [])
  })

  it('forgets an upload that is cancelled', async () => {
    await using test = await startTestRegistry()
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    assert.equal((await test.send('DELETE', place)).status, 204)
    assert.equal((await test.send('GET', place)).json().errors[0].code, 'BLOB_UPLOAD_UNKNOWN')
    assert.deepEqual(await readdir(join(test.dir, 'registry', 'uploads')), [])
  })

  it('goes on with an upload after a restart', async () => {
    await using test = await startTestRegistry()
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    await test.send('PATCH', place, { body: 'first ', headers: octets })
    await test.registry.close()
    await using again = await startTestRegistry({ dir: test.dir })
    assert.equal((await again.send('GET', place)).headers.get('range'), '0-5')
    const digest = digestOf('first second')
    assert.equal(
      (await again.send('PUT', `${place}?digest=${digest}`, { body: 'second', headers: octets })).status,
      201,
    )
    assert.equal((await again.send('GET', `/v2/app/blobs/${digest}`)).text, 'first second')
  })

  it('has limits for the number and the size of uploads', async () => {
    await using test = await startTestRegistry({ maxUploads: 1, maxBlobBytes: 10 })
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    const second = await test.send('POST', '/v2/app/blobs/uploads/')
    assert.deepEqual([second.status, second.headers.get('retry-after')], [429, '10'])
    const large = await test.send('PATCH', place, { body: 'more than ten bytes', headers: octets })
    assert.deepEqual([large.status, large.json().errors[0].code], [413, 'SIZE_INVALID'])
    await test.send('DELETE', place)
    assert.equal((await test.send('POST', '/v2/app/blobs/uploads/')).status, 202)
  })

  it('removes uploads nothing is added to', async () => {
    await using test = await startTestRegistry({ uploadIdleMs: 1, collect: { everyMs: 5 } })
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    while ((await test.send('GET', place)).status !== 404);
    while ((await readdir(join(test.dir, 'registry', 'uploads'))).length > 0);
  })

  it('mounts a blob from a named repository, from any, or asks for an upload', async () => {
    await using test = await startTestRegistry()
    const digest = await test.pushBlob('one', 'content')
    const named = await test.send('POST', `/v2/two/blobs/uploads/?mount=${digest}&from=one`)
    assert.deepEqual([named.status, named.headers.get('location')], [201, `/v2/two/blobs/${digest}`])
    const any = await test.send('POST', `/v2/three/blobs/uploads/?mount=${digest}`)
    assert.equal(any.status, 201)
    assert.equal((await test.send('GET', `/v2/three/blobs/${digest}`)).text, 'content')
    for (const query of [
      `mount=${digest}&from=four`,
      `mount=${digestOf('none')}&from=one`,
      `mount=${digestOf('none')}`,
    ]) {
      assert.equal((await test.send('POST', `/v2/five/blobs/uploads/?${query}`)).status, 202, query)
    }
  })
})
