import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readBytes } from '@fairlead/kube'

import { openStore } from '../storage/store.ts'
import { podNamed, readWatch, startTestServer } from './test-server.ts'
import type { TestServer, WatchLine } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const asTable = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' }
const asMetadata = { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json' }

async function withPods(...names: string[]): Promise<TestServer> {
  const api = await startTestServer()
  for (const name of names)
    await api.call('POST', pods, podNamed(name, { metadata: { name, labels: { app: name, kind: 'test' } } }))
  return api
}

function namesOf(list: { items: { metadata: { name: string } }[] }): string[] {
  return list.items.map((item) => item.metadata.name)
}

function seen(events: readonly WatchLine[]): string[] {
  return events.map(({ type, object }) => `${type} ${object.metadata?.name ?? object.reason ?? ''}`.trim())
}

describe('a list', () => {
  for (const { query, expected } of [
    { query: 'labelSelector=app=a', expected: ['a'] },
    { query: 'labelSelector=app!=a', expected: ['b', 'c'] },
    { query: 'labelSelector=app+in+(a,c)', expected: ['a', 'c'] },
    { query: 'labelSelector=app+notin+(a,c)', expected: ['b'] },
    { query: 'labelSelector=kind,!missing', expected: ['a', 'b', 'c'] },
    { query: 'labelSelector=missing', expected: [] },
    { query: 'fieldSelector=metadata.name=b', expected: ['b'] },
    { query: 'fieldSelector=metadata.name!=b', expected: ['a', 'c'] },
    { query: 'fieldSelector=status.phase==Pending,spec.nodeName=', expected: ['a', 'b', 'c'] },
    { query: 'fieldSelector=spec.nodeName=n1', expected: [] },
  ]) {
    it(`selects by ${query}`, async () => {
      await using api = await withPods('a', 'b', 'c')
      const { body } = await api.call('GET', `${pods}?${query}`)
      assert.deepEqual(namesOf(body), expected)
      assert.equal(body.kind, 'PodList')
    })
  }

  it('selects a name in all namespaces, of objects and of a watch that begins with them', async () => {
    await using api = await startTestServer()
    for (const [namespace, name] of [
      ['default', 'web'],
      ['kube-public', 'web'],
      ['default', 'my-web'],
      ['default', 'web-2'],
    ]) {
      await api.call('POST', `/api/v1/namespaces/${namespace}/configmaps`, { metadata: { name } })
    }
    const query = 'fieldSelector=metadata.name=web'
    const { body } = await api.call('GET', `/api/v1/configmaps?${query}`)
    const places = (body.items as { metadata: { namespace: string; name: string } }[]).map(
      ({ metadata: { namespace, name } }) => `${namespace}/${name}`,
    )
    assert.deepEqual(places, ['default/web', 'kube-public/web'])
    assert.deepEqual(namesOf((await api.call('GET', `/api/v1/namespaces?fieldSelector=metadata.name=default`)).body), [
      'default',
    ])
    const path = `/api/v1/configmaps?watch=true&${query}`
    const watching = readWatch(api.transport, path, ({ length }) => length === 3)
    await api.call('POST', '/api/v1/namespaces/kube-public/configmaps', { metadata: { name: 'not-web' } })
    await api.call('DELETE', '/api/v1/namespaces/kube-public/configmaps/web')
    assert.deepEqual(seen(await watching), ['ADDED web', 'ADDED web', 'DELETED web'])
  })

  it('refuses selectors it cannot read', async () => {
    await using api = await withPods()
    for (const query of [
      'labelSelector=a+in+b',
      'labelSelector==',
      'fieldSelector=nonsense',
      'fieldSelector=spec.foo=1',
    ]) {
      assert.equal((await api.call('GET', `${pods}?${query}`)).status, 400, query)
    }
  })

  it('comes in pages that all show the state of the first', async () => {
    await using api = await withPods('a', 'b', 'c', 'd', 'e')
    const first = await api.call('GET', `${pods}?limit=2`)
    assert.deepEqual([namesOf(first.body), first.body.metadata.remainingItemCount], [['a', 'b'], 3])
    await api.call('DELETE', `${pods}/d`)
    await api.call('POST', pods, podNamed('cc'))
    const second = await api.call('GET', `${pods}?limit=2&continue=${first.body.metadata.continue}`)
    const third = await api.call('GET', `${pods}?limit=2&continue=${second.body.metadata.continue}`)
    assert.deepEqual([...namesOf(second.body), ...namesOf(third.body)], ['c', 'd', 'e'])
    assert.equal(third.body.metadata.continue, undefined)
    assert.equal(third.body.metadata.resourceVersion, first.body.metadata.resourceVersion)
    api.store.compact(api.store.revision)
    const late = await api.call('GET', `${pods}?limit=2&continue=${first.body.metadata.continue}`)
    assert.deepEqual([late.status, late.body.reason], [410, 'Expired'])
    // The token of the refusal goes on where the list was, with what is there now.
    const rest = await api.call('GET', `${pods}?limit=5&continue=${late.body.metadata.continue}`)
    assert.deepEqual(namesOf(rest.body), ['c', 'cc', 'e'])
    assert.equal(rest.body.metadata.resourceVersion, String(api.store.revision))
  })

  it('shows an exact revision, and waits for one that is to come', async () => {
    await using api = await withPods('a')
    const revision = api.store.revision
    await api.call('POST', pods, podNamed('b'))
    const past = await api.call('GET', `${pods}?resourceVersion=${revision}&resourceVersionMatch=Exact`)
    assert.deepEqual([namesOf(past.body), past.body.metadata.resourceVersion], [['a'], String(revision)])
    const future = api.call('GET', `${pods}?resourceVersion=${api.store.revision + 1}`)
    await api.call('POST', pods, podNamed('c'))
    assert.deepEqual(namesOf((await future).body), ['a', 'b', 'c'])
  })

  it('is a Table when asked for one', async () => {
    await using api = await withPods('a', 'b')
    const { body, headers } = await api.call('GET', pods, undefined, asTable)
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(body.kind, 'Table')
    assert.equal(body.columnDefinitions[0].name, 'Name')
    assert.deepEqual(
      body.rows.map((row: { cells: unknown[] }) => row.cells[0]),
      ['a', 'b'],
    )
    assert.equal(body.rows[0].object.kind, 'PartialObjectMetadata')
    const bare = await api.call('GET', `${pods}?includeObject=None`, undefined, asTable)
    assert.equal(bare.body.rows[0].object, undefined)
    const one = await api.call('GET', `${pods}/a`, undefined, asTable)
    assert.equal(one.body.rows.length, 1)
  })

  it('is metadata only when asked for that', async () => {
    await using api = await withPods('a')
    const { body } = await api.call('GET', pods, undefined, asMetadata)
    assert.equal(body.kind, 'PartialObjectMetadataList')
    assert.deepEqual(Object.keys(body.items[0]), ['kind', 'apiVersion', 'metadata'])
  })

  it('is YAML when asked for that, and nothing else that is unknown', async () => {
    await using api = await withPods('a')
    const yaml = await api.call('GET', `${pods}/a`, undefined, { accept: 'application/yaml' })
    assert.match(yaml.body, /^apiVersion: v1\nkind: Pod\n/)
    const none = await api.call('GET', pods, undefined, { accept: 'text/csv' })
    assert.deepEqual([none.status, none.body.reason], [406, 'NotAcceptable'])
    const review = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    const rows = await api.call(
      'POST',
      review,
      { spec: { nonResourceAttributes: { path: '/', verb: 'get' } } },
      asTable,
    )
    assert.equal(rows.status, 406)
    assert.equal(
      none.body.message,
      'only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf',
    )
    const stream = await api.call('GET', `${pods}?watch=1`, undefined, { accept: 'application/yaml' })
    assert.match(
      stream.body,
      /: application\/json;stream=watch, *\s*application\/vnd\.kubernetes\.protobuf;stream=watch/,
    )
  })

  it('of many objects lets other requests in between', async () => {
    await using api = await startTestServer()
    const large = podNamed('x', { metadata: { generateName: 'p-', annotations: { pad: 'x'.repeat(20_000) } } })
    await Promise.all(Array.from({ length: 300 }, () => api.call('POST', pods, large)))
    let isListed = false
    const listing = api.call('GET', pods).then((answer) => ((isListed = true), answer))
    await new Promise((resolve) => setImmediate(resolve))
    await api.call('GET', '/version')
    assert.equal(isListed, false)
    assert.equal((await listing).body.items.length, 300)
  })
})

describe('a watch', () => {
  for (const path of [
    '/api/v1/watch/pods',
    '/api/v1/watch/namespaces/default/pods',
    `/api/v1/watch/namespaces/default/pods/a`,
  ]) {
    it(`is served at ${path}, as before there was a parameter`, async () => {
      await using api = await withPods('a')
      const events = await readWatch(api.transport, `${path}?resourceVersion=0`, ({ length }) => length > 0)
      assert.deepEqual(seen(events), ['ADDED a'])
    })
  }

  it('is not served below a path of old for what cannot be watched', async () => {
    await using api = await withPods('a')
    assert.equal((await api.call('GET', '/api/v1/watch/namespaces/default/pods/a/status')).status, 404)
    assert.equal((await api.call('POST', '/api/v1/watch/pods', {})).status, 404)
  })

  it('tells what happened after its revision, then what happens', async () => {
    await using api = await withPods('a')
    const revision = api.store.revision
    await api.call('POST', pods, podNamed('b'))
    const watching = readWatch(
      api.transport,
      `${pods}?watch=true&resourceVersion=${revision}`,
      (events) => events.length === 4,
    )
    await api.call('PATCH', `${pods}/b`, { metadata: { labels: { x: 'y' } } })
    await api.call('DELETE', `${pods}/b`)
    await api.call('POST', '/api/v1/namespaces/kube-system/pods', podNamed('elsewhere'))
    await api.call('DELETE', `${pods}/a`)
    const events = await watching
    assert.deepEqual(seen(events), ['ADDED b', 'MODIFIED b', 'DELETED b', 'DELETED a'])
    const versions = events.map(({ object }) => Number(object.metadata.resourceVersion))
    assert.deepEqual(
      versions,
      versions.toSorted((a, b) => a - b),
    )
    assert.equal(versions.at(-1), api.store.revision)
  })

  it('without revision starts with what is there', async () => {
    await using api = await withPods('a', 'b')
    const events = await readWatch(api.transport, `${pods}?watch=1`, ({ length }) => length === 2)
    assert.deepEqual(seen(events), ['ADDED a', 'ADDED b'])
  })

  it('marks the end of the initial events when asked to send them', async () => {
    await using api = await withPods('a')
    const query =
      'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion='
    let later: Promise<unknown> | undefined
    const events = await readWatch(api.transport, `${pods}?${query}`, ({ length }) => {
      if (length === 2) later ??= api.call('POST', pods, podNamed('later'))
      return length === 3
    })
    await later
    assert.deepEqual(seen(events), ['ADDED a', 'BOOKMARK', 'ADDED later'])
    assert.equal(events[1]?.object.metadata.annotations['k8s.io/initial-events-end'], 'true')
    assert.equal(events[1]?.object.kind, 'Pod')
    const wrong = await api.call('GET', `${pods}?watch=true&sendInitialEvents=true`)
    assert.equal(wrong.status, 422)
    assert.match(wrong.body.message, /sendInitialEvents requires setting resourceVersionMatch to NotOlderThan/)
  })

  it('begins now when neither state nor a revision is asked for', async () => {
    await using api = await withPods('a')
    const query = 'watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan'
    const watching = readWatch(api.transport, `${pods}?${query}`, ({ length }) => length > 0)
    await api.call('POST', pods, podNamed('b'))
    assert.deepEqual(seen(await watching), ['ADDED b'])
  })

  it('from a revision the store never had is told to list again, as it would miss what there is', async () => {
    await using api = await withPods('a')
    const path = `${pods}?watch=true&resourceVersion=${api.store.revision + 1}`
    assert.deepEqual(seen(await readWatch(api.transport, path, ({ length }) => length > 0)), ['ERROR Expired'])
  })

  it('does not show a state older than the revision asked for', async () => {
    await using api = await withPods('a')
    const initial = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan'
    const path = `${pods}?${initial}&resourceVersion=${api.store.revision + 1}`
    const watching = readWatch(api.transport, path, ({ length }) => length > 0)
    await api.call('DELETE', `${pods}/a`)
    await api.call('POST', pods, podNamed('b'))
    assert.deepEqual(seen(await watching), ['ADDED b'])
  })

  it('turns changes into ADDED and DELETED where a selector starts and stops to match', async () => {
    await using api = await withPods('a')
    const { revision } = api.store
    const query = `watch=true&resourceVersion=${revision}&labelSelector=stage=live`
    const watching = readWatch(api.transport, `${pods}?${query}`, ({ length }) => length === 3)
    for (const stage of ['test', 'live', 'live', 'done']) {
      await api.call('PATCH', `${pods}/a`, {
        metadata: { labels: { stage }, annotations: { at: `${stage}${api.store.revision}` } },
      })
    }
    const events = await watching
    assert.deepEqual(seen(events), ['ADDED a', 'MODIFIED a', 'DELETED a'])
    assert.equal(events[2]?.object.metadata.labels.stage, 'live')
    assert.equal(events[2]?.object.metadata.resourceVersion, String(api.store.revision))
  })

  it('of one object by name sees only that', async () => {
    await using api = await withPods('a', 'b')
    const watching = readWatch(
      api.transport,
      `${pods}?watch=true&resourceVersion=${api.store.revision}&fieldSelector=metadata.name=b`,
      ({ length }) => length === 1,
    )
    await api.call('DELETE', `${pods}/a`)
    await api.call('DELETE', `${pods}/b`)
    assert.deepEqual(seen(await watching), ['DELETED b'])
  })

  it('carries tables when asked for tables', async () => {
    await using api = await withPods('a')
    const [event] = await readWatch(api.transport, `${pods}?watch=true`, ({ length }) => length === 1, asTable)
    assert.equal(event?.object.kind, 'Table')
    assert.equal(event?.object.rows[0].cells[0], 'a')
  })

  it('tells the columns of tables once, whether rows were there before or come later', async () => {
    await using api = await withPods('a', 'b')
    let isAdded = false
    const events = await readWatch(
      api.transport,
      `${pods}?watch=true`,
      ({ length }) => {
        if (length === 2 && !isAdded) void api.call('POST', pods, podNamed('c'))
        isAdded ||= length === 2
        return length === 3
      },
      asTable,
    )
    const columns = events.map(({ object }) => object.columnDefinitions?.[0]?.name as string | undefined)
    assert.deepEqual(columns, ['Name', undefined, undefined])
    assert.deepEqual(
      events.map(({ object }) => object.rows[0].cells[0]),
      ['a', 'b', 'c'],
    )
    const list = await api.call('GET', pods, undefined, asTable)
    assert.equal(list.body.columnDefinitions[0].name, 'Name')
  })

  it('from forgotten history is told 410 Expired', async () => {
    await using store = await openStore({ dir: '', durability: 'memory', history: { events: 3, bytes: 1 << 20 } })
    await using api = await startTestServer({ store })
    for (let n = 0; n < 10; n += 1) await api.call('POST', pods, podNamed(`p${n}`))
    const [event] = await readWatch(api.transport, `${pods}?watch=true&resourceVersion=1`, ({ length }) => length === 1)
    assert.equal(event?.type, 'ERROR')
    assert.deepEqual([event?.object.code, event?.object.reason], [410, 'Expired'])
  })

  it('ends after timeoutSeconds', async () => {
    await using api = await withPods('a')
    const events = await readWatch(api.transport, `${pods}?watch=true&timeoutSeconds=1`, () => false)
    assert.deepEqual(seen(events), ['ADDED a'])
  })

  it('that is not read is closed with 410 instead of filling the memory', async () => {
    await using api = await withPods()
    const path = `${pods}?watch=true&resourceVersion=${api.store.revision}`
    const { body } = await api.transport.send({ method: 'GET', path })
    const large = podNamed('x', { metadata: { generateName: 'p-', annotations: { pad: 'x'.repeat(200_000) } } })
    for (let n = 0; n < 100; n += 1) await api.call('POST', pods, large)
    const text = Buffer.from(await readBytes(body)).toString('utf8')
    const last = JSON.parse(text.trimEnd().split('\n').at(-1) ?? '')
    assert.deepEqual([last.type, last.object.code], ['ERROR', 410])
    assert.ok(text.length < 20 << 20)
  })
})

describe('a timeout in the URL', () => {
  it('is refused when it is no duration, but not where requests last by nature', async () => {
    await using api = await startTestServer()
    const { status, body } = await api.call('GET', `${pods}?timeout=soon`)
    assert.equal(status, 400)
    assert.match(body.message, /^invalid timeout specified in the request URL - .*"soon"$/)
    assert.equal((await api.call('GET', '/version?timeout=soon')).status, 400)
    for (const timeout of ['0s', '3m', '1.5h', '']) {
      assert.equal((await api.call('GET', `${pods}?timeout=${timeout}`)).status, 200)
    }
    const log = await api.call('GET', `${pods}/none/log?timeout=soon`)
    assert.equal(log.status, 404)
  })
})

describe('discovery', () => {
  it('is aggregated for those who ask and plain for the others', async () => {
    await using api = await startTestServer()
    const type = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
    const aggregated = await api.call('GET', '/apis', undefined, { accept: `${type},application/json` })
    assert.equal(aggregated.headers['content-type'], type)
    const apps = aggregated.body.items.find((item: { metadata: { name: string } }) => item.metadata.name === 'apps')
    const deployments = apps.versions[0].resources.find((item: { resource: string }) => item.resource === 'deployments')
    assert.deepEqual(deployments.shortNames, ['deploy'])
    assert.deepEqual(deployments.subresources.map((item: { subresource: string }) => item.subresource).toSorted(), [
      'scale',
      'status',
    ])
    const plain = await api.call('GET', '/apis')
    assert.equal(plain.body.kind, 'APIGroupList')
    const core = await api.call('GET', '/api/v1')
    const eviction = core.body.resources.find((item: { name: string }) => item.name === 'pods/eviction')
    assert.deepEqual([eviction.group, eviction.version, eviction.kind], ['policy', 'v1', 'Eviction'])
    const tag = { accept: type, 'if-none-match': aggregated.headers['etag'] ?? '' }
    assert.equal((await api.call('GET', '/apis', undefined, tag)).status, 304)
  })

  it('tells the storage version of a resource as programs reckon it that know upstream', async () => {
    await using api = await startTestServer()
    const hashOf = async (path: string, resource: string): Promise<string | undefined> => {
      const { body } = await api.call('GET', path)
      return body.resources.find(({ name }: { name: string }) => name === resource).storageVersionHash
    }
    assert.equal(await hashOf('/api/v1', 'pods'), 'xPOwRZ+Yhw8=')
    assert.equal(await hashOf('/apis/apps/v1', 'deployments'), '8aSe+NMegvE=')
    assert.equal(await hashOf('/apis/events.k8s.io/v1', 'events'), 'r2yiGXH7wu8=')
    assert.equal(await hashOf('/apis/autoscaling/v1', 'horizontalpodautoscalers'), 'qwQve8ut294=')
  })

  it('announces only resources that are served', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('GET', '/api/v1')
    for (const { name, verbs } of body.resources as { name: string; verbs: string[] }[]) {
      if (name.includes('/') || !verbs.includes('list')) continue
      assert.equal((await api.call('GET', `/api/v1/${name}`)).status, 200, name)
    }
  })

  it('says its version and health', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('GET', '/version')
    assert.deepEqual([body.major, body.minor], ['1', '36'])
    for (const path of ['/healthz', '/livez', '/readyz', '/readyz/ping'])
      assert.equal((await api.call('GET', path)).body, 'ok')
    assert.equal((await api.call('GET', '/readyz/nothing')).status, 404)
  })

  it('knows what somebody may do', async () => {
    await using api = await startTestServer()
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb: 'create', resource: 'pods' } },
    }
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    assert.equal((await api.call('POST', path, review)).body.status.allowed, true)
    const weak = api.server.transport({ user: 'joe', groups: [] })
    const { body } = await weak.send({
      method: 'POST',
      path,
      body: JSON.stringify(review),
      headers: { 'content-type': 'application/json' },
    })
    assert.equal(JSON.parse(Buffer.from(await readBytes(body)).toString('utf8')).status.allowed, false)
  })
})
