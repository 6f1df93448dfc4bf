// A database of an app on the embedded cluster: PostgreSQL of Debian, an app that stores rows, and what survives.
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, freePort, Home, type Kubectl, missing, run } from './support/machine.ts'

/** Stands for the official image: the same variables, a database made at the first start, data below PGDATA. */
const DATABASE = `
const { execFileSync, spawn } = require('node:child_process')
const { existsSync, mkdirSync, readdirSync, writeFileSync } = require('node:fs')
const { POSTGRES_USER: user, POSTGRES_PASSWORD: password, POSTGRES_DB: database, PGDATA: data } = process.env
const [version] = readdirSync('/usr/lib/postgresql')
const program = (name) => '/usr/lib/postgresql/' + version + '/bin/' + name
if (!existsSync(data + '/PG_VERSION')) {
  mkdirSync(data, { recursive: true, mode: 0o700 })
  writeFileSync('/tmp/password', password)
  const auth = ['--auth-host=scram-sha-256', '--auth-local=trust', '--pwfile=/tmp/password']
  execFileSync(program('initdb'), ['-D', data, '-U', user, '-E', 'UTF8', '--locale=C', ...auth], { stdio: 'inherit' })
  writeFileSync(data + '/pg_hba.conf', 'local all all trust\\nhost all all all scram-sha-256\\n')
  execFileSync(program('postgres'), ['--single', '-D', data, 'postgres'], { input: 'CREATE DATABASE "' + database + '"\\n' })
}
const server = spawn(program('postgres'), ['-D', data, '-h', '*', '-k', '/var/run/postgresql'], { stdio: 'inherit' })
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => server.kill('SIGINT'))
server.on('exit', (code) => process.exit(code ?? 1))
`

/** Ends when it does not reach the database, as many programs do. */
const NOTES = `
const { createServer } = require('node:http')
const { Pool } = require('pg')
const pool = new Pool({ connectionString: process.env.DATABASE_URL })
pool.on('error', () => {})
pool.query('CREATE TABLE IF NOT EXISTS notes (text text)').then(() => {
  createServer(async (request, response) => {
    try {
      if (request.method === 'POST') await pool.query('INSERT INTO notes VALUES ($1)', [request.headers['x-note']])
      const { rows } = await pool.query('SELECT text, current_user AS "user" FROM notes')
      response.end(JSON.stringify(rows))
    } catch (error) {
      response.writeHead(503).end(error.message)
    }
  }).listen(process.env.PORT)
}, (error) => { console.error(error.message); process.exit(1) })
process.on('SIGTERM', () => process.exit())
`

const programs = ['npm', 'apt-get', 'dpkg-deb', 'busybox', 'kubectl', 'skopeo', 'buildah', 'runc']

describe('a database of an app', { skip: missing(programs, { root: true }), timeout: 900_000 }, () => {
  const home = new Home()
  const app = join(home.dir, 'notes')
  let kubectl: Kubectl
  let url: string

  before(async () => {
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    const image = await pushDatabase()
    await writeApp(image)
    const { stdout } = await home.fairleadOk(['up', app, '--json'], { timeoutMs: 240_000 })
    url = JSON.parse(stdout).services[0].url
  })
  after(() => home[Symbol.asyncDispose]())

  /** Builds PostgreSQL of Debian with the builder, adds the shell that initdb asks for, and pushes it to the cluster. */
  async function pushDatabase(): Promise<string> {
    const dir = join(home.dir, 'database')
    const layout = join(home.dir, 'layout')
    writePackage(dir, { name: 'database', version: '1.0.0', main: 'main.js' }, DATABASE)
    await home.fairleadOk(['build', dir, '--package', 'postgresql', '--output', `oci:${layout}`])
    const [manifest] = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests
    const tag = manifest.annotations['org.opencontainers.image.ref.name']
    const [root, runRoot] = [join(home.dir, 'storage'), join(home.dir, 'run')]
    await runOk('skopeo', 'copy', `oci:${layout}:${tag}`, `containers-storage:[vfs@${root}+${runRoot}]localhost/base`)
    const buildah = (...args: string[]): Promise<string> =>
      runOk('buildah', '--root', root, '--runroot', runRoot, '--storage-driver', 'vfs', ...args)
    const container = (await buildah('from', '--pull-never', 'localhost/base')).trim()
    const mounted = (await buildah('mount', container)).trim()
    mkdirSync(join(mounted, 'usr/bin'), { recursive: true })
    copyFileSync((await run('sh', ['-c', 'command -v busybox'])).stdout.trim(), join(mounted, 'usr/bin/sh'))
    if (!existsSync(join(mounted, 'bin'))) symlinkSync('usr/bin', join(mounted, 'bin'))
    const [version = ''] = readdirSync(join(mounted, 'usr/lib/postgresql'))
    symlinkSync(`../lib/postgresql/${version}/bin/pg_isready`, join(mounted, 'usr/bin/pg_isready'))
    await buildah('umount', container)
    await buildah('commit', '--quiet', container, 'database')
    const { registry } = JSON.parse((await home.fairlead(['cluster', 'status', '--json'])).stdout)
    const image = `${registry.address}/test/postgres:15`
    await buildah('push', '--tls-verify=false', 'database', `docker://${image}`)
    return image
  }

  async function writeApp(image: string): Promise<void> {
    writePackage(app, { name: 'notes', version: '1.0.0', main: 'main.js', dependencies: { pg: '8.16.3' } }, NOTES)
    await runOk('npm', 'install', '--package-lock-only', '--no-audit', '--no-fund', '--prefix', app)
    const db = { engine: 'postgres', image, user: 65_532 }
    const services = { notes: { dir: '.', public: await freePort(), uses: ['db'] } }
    writeFileSync(join(app, 'fairlead.config.json'), JSON.stringify({ backing: { db }, services }))
  }

  function writePackage(dir: string, own: object, source: string): void {
    mkdirSync(dir)
    writeFileSync(join(dir, 'package.json'), JSON.stringify(own))
    const lock = { ...own, lockfileVersion: 3, requires: true, packages: { '': own } }
    if (!('dependencies' in own)) writeFileSync(join(dir, 'package-lock.json'), JSON.stringify(lock))
    writeFileSync(join(dir, 'main.js'), source)
  }

  async function runOk(program: string, ...args: readonly string[]): Promise<string> {
    const finished = await run(program, args, { cwd: home.dir, timeoutMs: 120_000 })
    assert.equal(finished.code, 0, finished.stderr)
    return finished.stdout
  }

  const notes = (): Promise<unknown> =>
    eventually('the notes', async () => {
      const response = await fetch(url)
      return response.ok ? ((await response.json()) as object) : undefined
    })

  it('is there before the app, which stores a row with the account of the Secret', async () => {
    const stored = await fetch(url, { method: 'POST', headers: { 'x-note': 'first' } })
    assert.equal(stored.status, 200, await stored.clone().text())
    assert.deepEqual(await notes(), [{ text: 'first', user: 'notes' }])
    assert.equal(
      await kubectl(
        'get pods -l app.kubernetes.io/name=notes -o jsonpath={.items[*].status.containerStatuses[0].restartCount}',
      ),
      '0',
    )
  })

  it('is in the status of the app', async () => {
    const services: { service: string; readyReplicas: number }[] = JSON.parse(
      (await home.fairleadOk(['status', 'notes', '--json'])).stdout,
    )
    assert.deepEqual(
      services.map(({ service, readyReplicas }) => [service, readyReplicas]),
      [
        ['db', 1],
        ['notes', 1],
      ],
    )
  })

  it('keeps its rows when its pod is made anew', async () => {
    const before = await kubectl('get pod db-0 -o jsonpath={.metadata.uid}')
    await kubectl('delete pod db-0')
    await eventually('another pod', async () => (await kubectl('get pod db-0 -o jsonpath={.metadata.uid}')) !== before)
    await kubectl('wait --for=condition=Ready --timeout=180s pod/db-0')
    assert.deepEqual(await notes(), [{ text: 'first', user: 'notes' }])
  })

  it('keeps password and rows when the app is delivered again', async () => {
    const secret = 'get secret db-credentials -o jsonpath={.metadata.resourceVersion}'
    const before = await kubectl(secret)
    const { stdout } = await home.fairleadOk(['up', app, '--json'])
    assert.equal(JSON.parse(stdout).changed, false)
    assert.equal(await kubectl(secret), before)
    assert.deepEqual(await notes(), [{ text: 'first', user: 'notes' }])
  })

  it('has its password in no other object', async () => {
    const password = await kubectl('get secret db-credentials -o jsonpath={.data.password}')
    const text = Buffer.from(password, 'base64').toString()
    assert.equal(text.length, 32)
    const objects = await kubectl('get statefulsets,deployments,pods,services,configmaps,events -A -o json')
    assert.ok(!objects.includes(text) && !objects.includes(password))
  })
})
