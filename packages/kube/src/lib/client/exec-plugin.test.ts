import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createCredentials } from './credentials.ts'
import type { KubeconfigCluster, KubeconfigExec } from './kubeconfig.ts'
import { parseKubeconfig } from './kubeconfig.ts'

const [v1, v1beta1] = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'] as const
const env = { PATH: process.env['PATH'] }

/** A plugin that prints `status` and leaves in `info` what it was told. */
function pluginPrinting(status: object, apiVersion: string = v1): Disposable & { command: string; dir: string } {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-plugin-'))
  const command = join(dir, 'plugin')
  const answer = JSON.stringify({ apiVersion, kind: 'ExecCredential', status })
  writeFileSync(command, `#!/bin/sh\nprintf %s "$KUBERNETES_EXEC_INFO" >&2\necho '${answer}'\n[ -z "$FAIL" ]\n`)
  chmodSync(command, 0o755)
  return { command, dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) }
}

function ask(exec: KubeconfigExec, cluster: KubeconfigCluster = { server: 'https://a' }, isInteractive = false) {
  return createCredentials({ exec }, { name: 'u', cluster, env, isInteractive })({ refresh: false })
}

describe('createCredentials with a plugin', () => {
  for (const [name, exec, message] of [
    [
      'a version nobody speaks any more',
      { apiVersion: 'client.authentication.k8s.io/v1alpha1' },
      /v1alpha1", expected one of/,
    ],
    ['v1 without interactiveMode, as kubectl does', { apiVersion: v1 }, /interactiveMode "", expected one of/],
    ['an unknown interactiveMode', { interactiveMode: 'Sometimes' }, /interactiveMode "Sometimes"/],
  ] as const) {
    it(`refuses ${name}`, () => {
      const user = { exec: { command: 'p', ...exec } }
      const make = () => createCredentials(user, { name: 'u', cluster: { server: 'https://a' }, env })
      assert.throws(make, { code: 'FAIRLEAD_KUBE_KUBECONFIG', message })
    })
  }

  it('tells it the cluster, with what the extension holds for it', async () => {
    using plugin = pluginPrinting({ token: 't' }, v1beta1)
    const cluster = {
      server: 'https://a',
      'tls-server-name': 'b',
      'certificate-authority-data': Buffer.from('PEM').toString('base64'),
      extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'shop' } }],
    }
    const exec = { command: plugin.command, apiVersion: v1beta1, provideClusterInfo: true }
    const failing = { ...exec, env: [{ name: 'FAIL', value: '1' }] }
    const told: Error = await ask(failing, cluster).then(
      () => assert.fail('it failed'),
      (error: Error) => error,
    )
    assert.deepEqual(JSON.parse(told.message.slice(told.message.indexOf('{'))), {
      apiVersion: v1beta1,
      kind: 'ExecCredential',
      spec: {
        interactive: false,
        cluster: {
          server: 'https://a',
          'tls-server-name': 'b',
          'certificate-authority-data': 'UEVN',
          config: { audience: 'shop' },
        },
      },
    })
    assert.equal((await ask(exec, cluster)).headers?.['authorization'], 'Bearer t')
  })

  it('takes a certificate with its key', async () => {
    using plugin = pluginPrinting({ clientCertificateData: 'CERT', clientKeyData: 'KEY' })
    const { cert, key, headers } = await ask({ command: plugin.command, apiVersion: v1, interactiveMode: 'Never' })
    assert.deepEqual([cert, key, headers], ['CERT', 'KEY', {}])
  })

  const code = 'FAIRLEAD_KUBE_CREDENTIALS'
  it('refuses answers of another version, half a certificate and a terminal that is not there', async () => {
    using older = pluginPrinting({ token: 't' }, v1beta1)
    using half = pluginPrinting({ clientCertificateData: 'CERT' })
    const mode = { apiVersion: v1, interactiveMode: 'IfAvailable' }
    await assert.rejects(ask({ ...mode, command: older.command }), { code, message: /answered in apiVersion/ })
    await assert.rejects(ask({ ...mode, command: half.command }), { code, message: /without the other/ })
    const always = ask({ ...mode, interactiveMode: 'Always', command: half.command })
    await assert.rejects(always, { code, message: /needs a terminal/ })
  })

  it('shows the hint of the kubeconfig when it is not installed', async () => {
    const asked = ask({ command: join(tmpdir(), 'absent-plugin'), installHint: 'Install it from example.com' })
    await assert.rejects(asked, { code, hint: 'Install it from example.com' })
  })
})

describe('parseKubeconfig', () => {
  it('takes a plugin named with a slash from the folder of the file', () => {
    const text = 'users: [{name: a, user: {exec: {command: ./bin/p}}}, {name: b, user: {exec: {command: p}}}]'
    const commands = parseKubeconfig(text, '/etc/kube/config').users.map(({ user }) => user.exec?.command)
    assert.deepEqual(commands, ['/etc/kube/bin/p', 'p'])
  })
})

describe('createCredentials', () => {
  const options = { name: 'u', cluster: { server: 'https://a' }, env }

  it('refuses an auth-provider, saying what took its place', () => {
    assert.throws(() => createCredentials({ 'auth-provider': { name: 'gcp' } }, options), {
      code: 'FAIRLEAD_KUBE_KUBECONFIG',
      message: /auth-provider "gcp"/,
      hint: /exec plugin/,
    })
  })

  it('acts for others with all their groups and extras', async () => {
    const user = { as: 'jane', 'as-uid': '7', 'as-groups': ['dev', 'ops'], 'as-user-extra': { 'a/b': ['c', 'd'] } }
    assert.deepEqual((await createCredentials(user, options)({ refresh: false })).headers, {
      'impersonate-user': 'jane',
      'impersonate-uid': '7',
      'impersonate-group': ['dev', 'ops'],
      'impersonate-extra-a%2Fb': ['c', 'd'],
    })
  })

  it('goes on with the last token while its file is away', async () => {
    using plugin = pluginPrinting({})
    const tokenFile = join(plugin.dir, 'token')
    writeFileSync(tokenFile, 'one\n')
    let now = 0
    const asked = createCredentials({ tokenFile }, { ...options, now: () => now })
    assert.equal((await asked({ refresh: false })).headers?.['authorization'], 'Bearer one')
    rmSync(tokenFile)
    now = 120_000
    assert.equal((await asked({ refresh: false })).headers?.['authorization'], 'Bearer one')
    writeFileSync(tokenFile, 'two\n')
    now = 240_000
    assert.equal((await asked({ refresh: false })).headers?.['authorization'], 'Bearer two')
  })
})
