import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { startTestRegistry } from './registry-fixture.ts'

describe('a registry: pull', () => {
  it('answers the check of its version', async () => {
    await using test = await startTestRegistry()
    const { status, headers, text } = await test.send('GET', '/v2/')
    assert.deepEqual([status, text.trim()], [200, '{}'])
    assert.equal(headers.get('docker-distribution-api-version'), 'registry/2.0')
  })

  it('gives a manifest by tag and by digest, with the bytes and the type it was pushed with', async () => {
    await using test = await startTestRegistry()
    const { digest, manifest } = await test.pushImage('team/app', '1.0', 'layer')
    for (const target of ['1.0', digest]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await test.send(method, `/v2/team/app/manifests/${target}`)
        assert.equal(answer.status, 200)
        assert.equal(answer.headers.get('content-type'), mediaTypes.manifest)
        assert.equal(answer.headers.get('docker-content-digest'), digest)
        assert.equal(answer.headers.get('content-length'), String(JSON.stringify(manifest).length))
        assert.equal(answer.text, method === 'GET' ? JSON.stringify(manifest) : '')
      }
    }
  })

  it('answers 304 to who has it already', async () => {
    await using test = await startTestRegistry()
    const { digest, layer } = await test.pushImage('app', '1', 'layer')
    for (const path of ['manifests/1', `manifests/${digest}`, `blobs/${layer}`]) {
      const { headers } = await test.send('GET', `/v2/app/${path}`)
      const etag = headers.get('etag') ?? ''
      const again = await test.send('GET', `/v2/app/${path}`, { headers: { 'if-none-match': `"x", W/${etag}` } })
      assert.deepEqual([again.status, again.text], [304, ''], path)
    }
  })

  const ranges = [
    { range: 'bytes=2-4', status: 206, text: '234', shown: 'bytes 2-4/10' },
    { range: 'bytes=7-', status: 206, text: '789', shown: 'bytes 7-9/10' },
    { range: 'bytes=-2', status: 206, text: '89', shown: 'bytes 8-9/10' },
    { range: 'bytes=8-400', status: 206, text: '89', shown: 'bytes 8-9/10' },
    { range: 'bytes=10-', status: 416, shown: 'bytes */10' },
    { range: 'bytes=5-2', status: 416, shown: 'bytes */10' },
    { range: 'bytes=1-2,4-5', status: 200, text: '0123456789' },
    { range: 'lines=1-2', status: 200, text: '0123456789' },
  ]
  for (const { range, status, text, shown } of ranges) {
    it(`answers ${status} to the range ${range} of a blob`, async () => {
      await using test = await startTestRegistry()
      const digest = await test.pushBlob('app', '0123456789')
      const answer = await test.send('GET', `/v2/app/blobs/${digest}`, { headers: { range } })
      assert.equal(answer.status, status)
      assert.equal(answer.headers.get('content-range'), shown ?? null)
      if (text !== undefined) assert.equal(answer.text, text)
    })
  }

  it('does not take a range of other content', async () => {
    await using test = await startTestRegistry()
    const digest = await test.pushBlob('app', '0123456789')
    const headers = { range: 'bytes=2-4', 'if-range': '"sha256:other"' }
    assert.equal((await test.send('GET', `/v2/app/blobs/${digest}`, { headers })).status, 200)
  })

  const unknown = [
    { path: `app/blobs/${digestOf('none')}`, status: 404, code: 'BLOB_UNKNOWN' },
    { path: 'app/manifests/none', status: 404, code: 'MANIFEST_UNKNOWN' },
    { path: `app/manifests/${digestOf('none')}`, status: 404, code: 'MANIFEST_UNKNOWN' },
    { path: 'none/manifests/1', status: 404, code: 'MANIFEST_UNKNOWN' },
    { path: 'none/tags/list', status: 404, code: 'NAME_UNKNOWN' },
    { path: 'app/blobs/sha256:abc', status: 400, code: 'DIGEST_INVALID' },
    { path: 'app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', status: 400, code: 'DIGEST_INVALID' },
    { path: 'app/manifests/.bad', status: 400, code: 'MANIFEST_INVALID' },
    { path: `app/manifests/${'x'.repeat(129)}`, status: 400, code: 'MANIFEST_INVALID' },
    { path: 'App/manifests/1', status: 400, code: 'NAME_INVALID' },
    { path: 'a__b--c/_d/manifests/1', status: 400, code: 'NAME_INVALID' },
    { path: `${'a'.repeat(300)}/tags/list`, status: 400, code: 'NAME_INVALID' },
    { path: `${'a/'.repeat(119)}a/tags/list`, status: 404, code: 'NAME_UNKNOWN' },
    { path: 'app/nothing/1', status: 404, code: 'UNSUPPORTED' },
    { path: 'app/_catalog/manifests/1', status: 400, code: 'NAME_INVALID' },
    {
      path: `app/blobs/uploads/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}`,
      status: 404,
      code: 'BLOB_UPLOAD_UNKNOWN',
    },
    { path: 'app/blobs/uploads/..%2f..%2findex.json', status: 404, code: 'BLOB_UPLOAD_UNKNOWN' },
  ]
  for (const { path, status, code } of unknown) {
    it(`answers ${status} ${code} for ${path.slice(0, 50)}`, async () => {
      await using test = await startTestRegistry()
      const answer = await test.send('GET', `/v2/${path}`)
      assert.equal(answer.status, status)
      assert.equal(answer.json().errors[0].code, code)
      assert.equal(answer.headers.get('content-type'), 'application/json')
      assert.notEqual(answer.json().errors[0].message, '')
    })
  }

  it('keeps what belongs to one repository from another', async () => {
    await using test = await startTestRegistry()
    const { digest, layer } = await test.pushImage('a', '1', 'layer')
    assert.equal((await test.send('GET', `/v2/b/blobs/${layer}`)).status, 404)
    assert.equal((await test.send('GET', `/v2/b/manifests/${digest}`)).status, 404)
  })
})
