import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { describe, it } from 'node:test'

import { connectKube, resolveContext } from './connect.ts'
import { createCredentials } from './credentials.ts'
import { loadInCluster } from './in-cluster.ts'
import { createKubeconfig, loadKubeconfig, parseKubeconfig, renderKubeconfig } from './kubeconfig.ts'

function temporaryFolder(): Disposable & { path: string; write(name: string, text: string): string } {
  const path = mkdtempSync(join(tmpdir(), 'kubeconfig-'))
  return {
    path,
    write(name, text) {
      const file = join(path, name)
      writeFileSync(file, text)
      return file
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}

const first = createKubeconfig({ name: 'one', server: 'https://one:6443', token: 'a' })
const second = {
  ...createKubeconfig({ name: 'two', server: 'https://two:6443', token: 'b' }),
  preferences: { colors: true },
}
const clash = createKubeconfig({ name: 'one', server: 'https://other:6443', token: 'c' })

describe('loadKubeconfig', () => {
  it('merges the files of KUBECONFIG: the first to name something wins, absent files are passed over', () => {
    using dir = temporaryFolder()
    const files = [
      dir.write('1', renderKubeconfig(first)),
      join(dir.path, 'absent'),
      dir.write('2', renderKubeconfig(second)),
      dir.write('3', renderKubeconfig(clash)),
    ]
    const merged = loadKubeconfig({ env: { KUBECONFIG: files.join(delimiter) } })
    assert.deepEqual(
      merged.clusters.map(({ name, cluster }) => [name, cluster.server]),
      [
        ['one', 'https://one:6443'],
        ['two', 'https://two:6443'],
      ],
    )
    assert.equal(merged['current-context'], 'one')
    assert.deepEqual(merged['preferences'], { colors: true })
    assert.equal(resolveContext(merged, 'two').user.token, 'b')
  })

  it('takes ~/.kube/config when KUBECONFIG is not set, and says so when that is absent', () => {
    using dir = temporaryFolder()
    assert.throws(() => loadKubeconfig({ env: { HOME: dir.path } }), {
      code: 'FAIRLEAD_KUBE_KUBECONFIG',
      message: `Cannot load kubeconfig "${join(dir.path, '.kube', 'config')}": no such file`,
    })
  })

  it('makes file names absolute, from the folder of the file', () => {
    using dir = temporaryFolder()
    const file = dir.write(
      'config',
      'clusters: [{name: c, cluster: {server: https://c, certificate-authority: ca.pem}}]\nusers: [{name: u, user: {tokenFile: /t}}]',
    )
    const config = loadKubeconfig({ path: file })
    assert.equal(config.clusters[0]?.cluster['certificate-authority'], join(dir.path, 'ca.pem'))
    assert.equal(config.users[0]?.user.tokenFile, '/t')
  })

  it('knows the pod it runs in', () => {
    using dir = temporaryFolder()
    dir.write('token', 'secret\n')
    dir.write('namespace', 'shop')
    const config = loadInCluster({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }, dir.path)
    assert.ok(config !== undefined)
    const { cluster, user, context } = resolveContext(config)
    assert.equal(cluster.server, 'https://[fd00::1]:443')
    assert.equal(user.tokenFile, join(dir.path, 'token'))
    assert.equal(context.namespace, 'shop')
    assert.equal(loadInCluster({}, dir.path), undefined)
  })
})

describe('parseKubeconfig', () => {
  const cases = [
    { name: 'no YAML', text: '{', state: 'file is not YAML' },
    { name: 'a scalar', text: 'hello', state: 'file is not a mapping' },
    { name: 'clusters that are no list', text: 'clusters: 1', state: 'clusters is not a list' },
    { name: 'a nameless user', text: 'users: [{user: {}}]', state: 'users[0] has no name or no user' },
    {
      name: 'a cluster without server',
      text: 'clusters: [{name: c, cluster: {}}]',
      state: 'cluster "c" has no server',
    },
    {
      name: 'a context without cluster',
      text: 'contexts: [{name: x, context: {}}]',
      state: 'context "x" names no cluster',
    },
  ]
  for (const { name, text, state } of cases) {
    it(`refuses ${name}, naming file and piece`, () => {
      assert.throws(() => parseKubeconfig(text, '/etc/kc'), {
        code: 'FAIRLEAD_KUBE_KUBECONFIG',
        message: `Cannot load kubeconfig "/etc/kc": ${state}`,
      })
    })
  }
})

describe('resolveContext', () => {
  const config = parseKubeconfig('contexts: [{name: x, context: {cluster: gone, user: u}}]', '/etc/kc')
  for (const [name, context, message] of [
    ['an unset current context', undefined, /no current context is set/],
    ['a context that is not there', 'y', /no such context, expected one of: x/],
    ['a cluster that is not there', 'x', /context names the cluster "gone", which is missing/],
  ] as const) {
    it(`refuses ${name}`, () =>
      assert.throws(() => resolveContext(config, context), { code: 'FAIRLEAD_KUBE_KUBECONFIG', message }))
  }
})

describe('connectKube', () => {
  it('refuses a certificate without its key', () => {
    const kubeconfig = createKubeconfig({ name: 'a', server: 'https://a', clientCertificate: 'PEM' })
    assert.throws(() => connectKube({ kubeconfig }), {
      code: 'FAIRLEAD_KUBE_KUBECONFIG',
      message: /no client-key-data/,
    })
  })
})

describe('createCredentials', () => {
  const cluster = { server: 'https://a' }

  it('reads a token file again after a minute', async () => {
    using dir = temporaryFolder()
    const tokenFile = dir.write('token', 'one\n')
    let now = 0
    const ask = createCredentials({ tokenFile }, { name: 'u', cluster, env: {}, now: () => now })
    assert.equal((await ask({ refresh: false })).headers?.['authorization'], 'Bearer one')
    dir.write('token', 'two\n')
    assert.equal((await ask({ refresh: false })).headers?.['authorization'], 'Bearer one')
    now = 60_000
    assert.equal((await ask({ refresh: false })).headers?.['authorization'], 'Bearer two')
  })

  it('runs a plugin until its credential expires', async () => {
    using dir = temporaryFolder()
    const command = dir.write(
      'plugin',
      `#!/bin/sh\nn=$(cat ${dir.path}/n 2>/dev/null || echo 0); n=$((n+1)); echo $n > ${dir.path}/n\n` +
        `echo '{"kind":"ExecCredential","status":{"token":"'$1$EXTRA$n'","expirationTimestamp":"1970-01-01T00:01:00Z"}}'\n`,
    )
    chmodSync(command, 0o755)
    let now = 0
    const user = { exec: { command, args: ['t'], env: [{ name: 'EXTRA', value: '-' }] } }
    const ask = createCredentials(user, { name: 'u', cluster, env: { PATH: process.env['PATH'] }, now: () => now })
    const [one, same] = await Promise.all([ask({ refresh: false }), ask({ refresh: false })])
    assert.equal(one.headers?.['authorization'], 'Bearer t-1')
    assert.equal(same, one)
    now = 55_000
    assert.equal((await ask({ refresh: false })).headers?.['authorization'], 'Bearer t-2')
  })

  it('says what is wrong with a plugin', async () => {
    using dir = temporaryFolder()
    const failing = dir.write('failing', '#!/bin/sh\necho "log in first" >&2\nexit 3\n')
    const hanging = dir.write('hanging', '#!/bin/sh\nexec sleep 60\n')
    chmodSync(failing, 0o755)
    chmodSync(hanging, 0o755)
    const env = { PATH: process.env['PATH'] }
    const ask = (command: string, execDeadlineMs = 10_000) =>
      createCredentials({ exec: { command } }, { name: 'u', cluster, env, execDeadlineMs })({ refresh: false })
    const code = 'FAIRLEAD_KUBE_CREDENTIALS'
    await assert.rejects(ask(failing), { code, message: /failed with exit code 3: log in first/ })
    await assert.rejects(ask(hanging, 50), { code, message: /gave no answer within 50 ms/ })
    await assert.rejects(ask(join(dir.path, 'absent')), { code, message: /is not installed/ })
  })
})
