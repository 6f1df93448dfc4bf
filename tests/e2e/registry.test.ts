// The registry of the embedded cluster: what programs we did not write push to it runs, and what is built is pulled from it.
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { serveRegistry } from '@fairlead/oci/server'
import {
  createKubectl,
  eventually,
  type Finished,
  freePort,
  Home,
  type Kubectl,
  missing,
  run,
} from './support/machine.ts'

const built = 'localhost/hello/hello:latest'

interface Status {
  state: string
  registry?: { state: string; address?: string }
}

describe(
  'the registry of the embedded cluster',
  { skip: missing(['kubectl', 'skopeo', 'runc'], { root: true }) },
  () => {
    let builder: Home
    let home: Home
    let kubectl: Kubectl
    let address: string
    const status = async (): Promise<Status> =>
      JSON.parse((await home.fairlead(['cluster', 'status', '--json'])).stdout)

    before(async () => {
      builder = new Home()
      home = new Home()
      const app = join(builder.dir, 'hello')
      mkdirSync(app)
      const own = { name: 'hello', version: '1.0.0' }
      writeFileSync(join(app, 'package.json'), JSON.stringify({ ...own, main: 'main.js' }))
      writeFileSync(
        join(app, 'package-lock.json'),
        JSON.stringify({ ...own, lockfileVersion: 3, requires: true, packages: { '': own } }),
      )
      writeFileSync(
        join(app, 'main.js'),
        "require('node:http').createServer((_, response) => response.end('hello')).listen(8080)\nprocess.on('SIGTERM', () => process.exit())\n",
      )
      await builder.fairleadOk(['build', app])
      await home.fairleadOk(['cluster', 'start'])
      kubectl = createKubectl(await home.kubeconfig(), home.dir)
      const { registry } = await status()
      assert.equal(registry?.state, 'ready')
      address = registry?.address ?? ''
    })

    after(async () => {
      await home[Symbol.asyncDispose]()
      await builder[Symbol.asyncDispose]()
    })

    async function skopeo(...args: readonly string[]): Promise<string> {
      const finished = await run('skopeo', args)
      assert.equal(finished.code, 0, finished.stderr)
      return finished.stdout
    }

    async function runPod(name: string, image: string, policy = 'IfNotPresent'): Promise<string> {
      const containers = [{ name: 'main', image, imagePullPolicy: policy, ports: [{ containerPort: 8080 }] }]
      const spec = { terminationGracePeriodSeconds: 1, containers }
      await kubectl('apply -f -', JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }))
      await kubectl(`wait --for=condition=Ready --timeout=180s pod/${name}`)
      return await kubectl(
        `get pod ${name} -o jsonpath={.status.containerStatuses[0].image}|{.status.containerStatuses[0].imageID}`,
      )
    }

    it('runs what skopeo pushed from a docker archive, by its address and as a local image, with no load step', async () => {
      const archive = join(builder.dir, 'hello.tar')
      const layout = join(builder.dir, 'home', 'images')
      await skopeo('copy', '--quiet', `oci:${layout}:${built}`, `docker-archive:${archive}:hello:1`)
      await skopeo(
        'copy',
        '--quiet',
        '--dest-tls-verify=false',
        `docker-archive:${archive}`,
        `docker://${address}/team/app:1`,
      )
      const byAddress = await runPod('by-address', `${address}/team/app:1`, 'Always')
      assert.match(byAddress, new RegExp(`^${address}/team/app:1\\|localhost/team/app@sha256:`))
      const port = address.split(':')[1]
      const local = await runPod('by-name', 'localhost/team/app:1')
      assert.equal(local.split('|')[1], byAddress.split('|')[1])
      await runPod('by-localhost', `localhost:${port}/team/app:1`)
    })

    it('runs what skopeo pushed from an OCI layout', async () => {
      const layout = join(builder.dir, 'home', 'images')
      await skopeo(
        'copy',
        '--quiet',
        '--dest-tls-verify=false',
        `oci:${layout}:${built}`,
        `docker://${address}/team/oci:1`,
      )
      await runPod('from-layout', `${address}/team/oci:1`)
    })

    it('takes no push of another user of this machine, who may pull, and one with the password of the owner', async () => {
      const stranger = 54_321
      const env = { PATH: process.env['PATH'], HOME: '/nonexistent', XDG_RUNTIME_DIR: '/nonexistent' }
      const archive = join(builder.dir, 'hello.tar')
      chmodSync(builder.dir, 0o755)
      chmodSync(archive, 0o644)
      const target = `docker://${address}/team/app:1`
      const copy = (...more: string[]): Promise<Finished> =>
        run(
          'skopeo',
          [
            'copy',
            '--insecure-policy',
            '--quiet',
            '--dest-tls-verify=false',
            ...more,
            `docker-archive:${archive}`,
            target,
          ],
          { env, uid: stranger },
        )
      const before = (await skopeo('inspect', '--tls-verify=false', `docker://${address}/team/app:1`)).trim()
      const refused = await copy()
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /authentication required|unauthorized|denied/i)
      const seen = await run('skopeo', ['inspect', '--tls-verify=false', `docker://${address}/team/app:1`], {
        env,
        uid: stranger,
      })
      assert.equal(seen.stdout.trim(), before)
      const file = join(home.dir, 'home', 'clusters', 'default', 'registry-password')
      assert.equal(statSync(file).mode & 0o777, 0o600)
      const allowed = await copy('--dest-creds', `fairlead:${readFileSync(file, 'utf8')}`)
      assert.equal(allowed.code, 0, allowed.stderr)
    })

    it("pulls with the pod's imagePullSecrets, and with those of its service account", async () => {
      // Of "ada" with the password "pw".
      const htpasswd = join(home.dir, 'htpasswd')
      writeFileSync(htpasswd, 'ada:$2y$04$w..fBArtt5f5mXfJlkwhv.WkIX/GZJUa6YmTgFtHUpYVnTn1f9xvO\n')
      const dir = join(home.dir, 'private')
      await using registry = await serveRegistry({ dir, htpasswd, collect: { everyMs: 0 } })
      const image = `${registry.address}/private/app:1`
      const archive = `docker-archive:${join(builder.dir, 'hello.tar')}`
      await skopeo('copy', '--quiet', '--dest-tls-verify=false', '--dest-creds', 'ada:pw', archive, `docker://${image}`)
      const pod = (name: string, spec: object): Promise<string> => {
        const containers = [{ name: 'main', image, imagePullPolicy: 'Always' }]
        const whole = { terminationGracePeriodSeconds: 1, containers, ...spec }
        return kubectl('apply -f -', JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: whole }))
      }
      await pod('unknown', {})
      const message = await eventually('the reason', () =>
        kubectl('get pod unknown -o jsonpath={.status.containerStatuses[0].state.waiting.message}'),
      )
      assert.match(message, /answered 401/)
      await kubectl(
        `create secret docker-registry key --docker-server=${registry.address} --docker-username=ada --docker-password=pw`,
      )
      await pod('known', { imagePullSecrets: [{ name: 'key' }] })
      await kubectl('wait --for=condition=Ready --timeout=180s pod/known')
      await kubectl(
        'apply -f -',
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'ServiceAccount',
          metadata: { name: 'puller' },
          imagePullSecrets: [{ name: 'key' }],
        }),
      )
      await pod('by-account', { serviceAccountName: 'puller' })
      await kubectl('wait --for=condition=Ready --timeout=180s pod/by-account')
      await kubectl('delete pod unknown known by-account')
    })

    it('says what is missing without asking anybody for it', async () => {
      const image = `${address}/team/none:1`
      const spec = { containers: [{ name: 'main', image }] }
      await kubectl('apply -f -', JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'none' }, spec }))
      const message = await eventually('the reason', () =>
        kubectl('get pod none -o jsonpath={.status.containerStatuses[0].state.waiting.message}'),
      )
      assert.match(message, /it is not in the local image store/)
    })

    it('gives skopeo what was built on this machine', async () => {
      await home.fairleadOk(['build', join(builder.dir, 'hello')])
      const digestOf = async (...args: string[]): Promise<string> =>
        (await skopeo('inspect', '--format', '{{.Digest}}', ...args)).trim()
      const copy = join(home.dir, 'copy')
      await skopeo(
        'copy',
        '--quiet',
        '--src-tls-verify=false',
        `docker://${address}/hello/hello:latest`,
        `oci:${copy}:app`,
      )
      const layout = join(home.dir, 'home', 'images')
      assert.equal(await digestOf(`oci:${copy}:app`), await digestOf(`oci:${layout}:${built}`))
    })

    it('has the same address after a restart, ends with the cluster, and may be left out', async () => {
      await home.fairleadOk(['cluster', 'stop'])
      await assert.rejects(fetch(`http://${address}/v2/`))
      await home.fairleadOk(['cluster', 'start', '--no-registry'])
      assert.equal((await status()).registry, undefined)
      await assert.rejects(fetch(`http://${address}/v2/`))
      await home.fairleadOk(['cluster', 'stop'])
      await home.fairleadOk(['cluster', 'start'])
      assert.equal((await status()).registry?.address, address)
      await kubectl('wait --for=condition=Ready --timeout=180s pod/by-address')
    })

    it('takes the port it is told, tells who has it, and finds another when that of the last time is taken', async () => {
      await home.fairleadOk(['cluster', 'stop'])
      await using holder = createServer((socket) => socket.destroy())
      await new Promise<void>((resolve) => holder.listen(Number(address.split(':')[1]), '127.0.0.1', resolve))
      const refused = await home.fairlead(['cluster', 'start', '--registry-port', String(address.split(':')[1])])
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /the registry.*--registry-port/s)
      await home.fairleadOk(['cluster', 'start'])
      const other = (await status()).registry?.address
      assert.notEqual(other, address)
      await home.fairleadOk(['cluster', 'stop'])
      const port = await freePort()
      await home.fairleadOk(['cluster', 'start', '--registry-port', String(port)])
      assert.equal((await status()).registry?.address, `127.0.0.1:${port}`)
      assert.equal((await fetch(`http://127.0.0.1:${port}/v2/_catalog`)).status, 200)
    })
  },
)
