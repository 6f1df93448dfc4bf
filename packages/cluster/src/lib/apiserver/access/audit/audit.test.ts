import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { readWatch, startTestServer } from '../../test-server.ts'
import type { TestServer } from '../../test-server.ts'
import { LineFile } from '../../../line-file.ts'
import { Auditor } from './auditor.ts'
import { chooseLevel, metadataPolicy, parseAuditPolicy } from './policy.ts'
import type { AuditPolicy } from './policy.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- a test reads whatever it expects
type Event = any

async function serve(policy: AuditPolicy): Promise<{ api: TestServer; events: Event[] }> {
  const events: Event[] = []
  const sink = {
    append: (event: object) => void events.push(JSON.parse(JSON.stringify(event))),
    close: () => undefined,
  }
  return { api: await startTestServer({ audit: new Auditor(policy, sink) }), events }
}

const secrets = '/api/v1/namespaces/default/secrets'
const configMaps = '/api/v1/namespaces/default/configmaps'

describe('Auditor', () => {
  it('writes who did what and how it ended', async () => {
    const { api, events } = await serve({ rules: [{ level: 'Metadata' }] })
    await using _ = api
    await api.call('POST', configMaps, { metadata: { name: 'c' } }, { 'user-agent': 'test/1' })
    assert.deepEqual(
      events.map(({ stage, verb, level }) => [stage, verb, level]),
      [
        ['RequestReceived', 'create', 'Metadata'],
        ['ResponseComplete', 'create', 'Metadata'],
      ],
    )
    const { user, objectRef, userAgent, responseStatus, requestObject, auditID } = events[1]
    assert.deepEqual(
      [user.username, userAgent, responseStatus.code, requestObject],
      ['admin', 'test/1', 201, undefined],
    )
    assert.deepEqual(objectRef, { resource: 'configmaps', namespace: 'default', apiVersion: 'v1' })
    assert.equal(auditID, events[0].auditID)
  })

  it('tells of those who act as somebody else, and of refusals', async () => {
    const { api, events } = await serve(metadataPolicy)
    await using _ = api
    await api.call('GET', `${secrets}/s`, undefined, { 'impersonate-user': 'joe' })
    const [{ user, impersonatedUser, responseStatus }] = events
    assert.deepEqual([user.username, impersonatedUser.username], ['admin', 'joe'])
    assert.deepEqual([responseStatus.code, responseStatus.reason], [403, 'Forbidden'])
  })

  it('writes contents when asked to, and those of secrets only when asked by name', async () => {
    const { api, events } = await serve({ rules: [{ level: 'RequestResponse' }], omitStages: ['RequestReceived'] })
    await using _ = api
    await api.call('POST', configMaps, { metadata: { name: 'c' }, data: { a: 'b' } })
    await api.call('POST', secrets, { metadata: { name: 's' }, stringData: { a: 'hidden' } })
    assert.equal(events[0].requestObject.data.a, 'b')
    assert.equal(events[0].responseObject.data.a, 'b')
    assert.equal(events[1].level, 'Metadata')
    assert.ok(!JSON.stringify(events[1]).includes('hidden'))
    const named = await serve({ rules: [{ level: 'Request', resources: [{ group: '', resources: ['secrets'] }] }] })
    await using api2 = named.api
    await api2.call('POST', secrets, { metadata: { name: 's' }, stringData: { a: 'shown' } })
    assert.equal(named.events.at(-1).requestObject.stringData.a, 'shown')
  })

  it('writes the beginning and the end of a watch', async () => {
    const { api, events } = await serve(metadataPolicy)
    await using _ = api
    await readWatch(
      api.transport,
      `${configMaps}?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
      (lines) => lines.length > 0,
    )
    assert.deepEqual(
      events
        .filter(({ verb }) => verb === 'watch')
        .map(({ stage }) => stage)
        .slice(0, 1),
      ['ResponseStarted'],
    )
  })
})

describe('chooseLevel', () => {
  const joe = { user: 'joe', groups: ['team'] }
  const asked = { verb: 'get', group: '', resource: 'pods', subresource: 'log', namespace: 'a', name: 'p' }
  const rest = { level: 'None' } as const
  const cases = [
    { name: 'users', rule: { users: ['joe'] }, isMatch: true },
    { name: 'other users', rule: { users: ['ann'] }, isMatch: false },
    { name: 'groups', rule: { userGroups: ['team'] }, isMatch: true },
    { name: 'verbs', rule: { verbs: ['list'] }, isMatch: false },
    { name: 'namespaces', rule: { namespaces: ['a'] }, isMatch: true },
    { name: 'a resource, not its subresources', rule: { resources: [{ resources: ['pods'] }] }, isMatch: false },
    { name: 'subresources by name', rule: { resources: [{ resources: ['pods/log'] }] }, isMatch: true },
    { name: 'subresources of one resource', rule: { resources: [{ resources: ['pods/*'] }] }, isMatch: true },
    { name: 'subresources of all', rule: { resources: [{ resources: ['*/log'] }] }, isMatch: true },
    { name: 'names', rule: { resources: [{ resources: ['pods/log'], resourceNames: ['q'] }] }, isMatch: false },
    { name: 'a group', rule: { resources: [{ group: 'apps' }] }, isMatch: false },
    { name: 'paths', rule: { nonResourceURLs: ['/api*'] }, isMatch: false },
  ]
  for (const { name, rule, isMatch } of cases) {
    it(name, () => {
      const { level } = chooseLevel({ rules: [{ level: 'Request', ...rule }, rest] }, joe, asked)
      assert.equal(level, isMatch ? 'Request' : 'None')
    })
  }

  it('matches paths that are no resources', () => {
    const path = {
      verb: 'get',
      group: '',
      resource: '',
      subresource: '',
      namespace: '',
      name: '',
      path: '/healthz/ping',
    }
    const rules = [{ level: 'Metadata', nonResourceURLs: ['/healthz*'] } as const, rest]
    assert.equal(chooseLevel({ rules }, joe, path).level, 'Metadata')
  })
})

describe('parseAuditPolicy', () => {
  const base = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy' }
  for (const { name, policy, message } of [
    { name: 'another kind', policy: { kind: 'Policy' }, message: /not a Policy of audit\.k8s\.io\/v1/ },
    { name: 'no rules', policy: { ...base, rules: [] }, message: /at least one rule/ },
    { name: 'an unknown level', policy: { ...base, rules: [{ level: 'All' }] }, message: /rules\[0\]\.level/ },
    {
      name: 'an unknown stage',
      policy: { ...base, rules: [{ level: 'None' }], omitStages: ['x'] },
      message: /omitStages/,
    },
  ]) {
    it(`refuses ${name}`, () => assert.throws(() => parseAuditPolicy(policy), { name: 'TypeError', message }))
  }
})

describe('LineFile', () => {
  it('is a file of its owner only, and is put aside when it is full', () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-audit-'))
    try {
      const path = join(dir, 'audit.log')
      const log = new LineFile({ path, maxBytes: 100, backups: 2, onError: (error) => assert.fail(String(error)) })
      for (let n = 0; n < 12; n += 1) {
        log.append({ n, text: 'x'.repeat(30) })
        log.flush()
      }
      log.close()
      assert.deepEqual(readdirSync(dir).toSorted(), ['audit.log', 'audit.log.1', 'audit.log.2'])
      assert.equal(statSync(path).mode & 0o777, 0o600)
      const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
      assert.equal(JSON.parse(lines.at(-1) ?? '').n, 11)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
