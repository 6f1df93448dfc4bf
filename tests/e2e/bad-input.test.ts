// What goes wrong on a user's machine: each case gets a message that names the cause and the way out, the right exit
// code, and leaves nothing running.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { createKubectl, freePort, Home, missing, repository } from './support/machine.ts'

const scratch = mkdtempSync(join(tmpdir(), 'fairlead-bad-'))
const containers = missing(['runc', 'conmon', 'nft', 'ip'], { root: true })

after(() => rmSync(scratch, { recursive: true, force: true }))

describe('bad input', () => {
  it('a typo in the config file: names file, line and the option that was meant', async () => {
    await using home = new Home()
    const dir = join(scratch, 'typo')
    mkdirSync(dir)
    writeFileSync(
      join(dir, 'fairlead.config.ts'),
      [
        'export default {',
        "  name: 'typo',",
        '  services: {',
        "    web: { dir: '.', replicsa: 2 },",
        '  },',
        '}',
        '',
      ].join('\n'),
    )
    const { code, stderr } = await home.fairlead(['up', dir])
    assert.equal(code, 2)
    assert.match(stderr, /fairlead\.config\.ts/)
    assert.match(stderr, /:4|line 4/)
    assert.match(stderr, /replicsa/)
    assert.match(stderr, /replicas/)
    await assertNothingRuns(home)
  })

  it('a config file that does not parse', async () => {
    await using home = new Home()
    const dir = join(scratch, 'syntax')
    mkdirSync(dir)
    writeFileSync(join(dir, 'fairlead.config.ts'), "export default {\n  name: 'broken'\n  services: {}\n}\n")
    const { code, stderr } = await home.fairlead(['up', dir])
    assert.equal(code, 2)
    assert.match(stderr, /fairlead\.config\.ts/)
    await assertNothingRuns(home)
  })

  it('a service without a lock file', async () => {
    await using home = new Home()
    const dir = join(scratch, 'lockless')
    mkdirSync(dir)
    writeFileSync(
      join(dir, 'package.json'),
      JSON.stringify({ name: 'lockless', version: '1.0.0', main: 'main.js', dependencies: { express: '5' } }),
    )
    writeFileSync(join(dir, 'main.js'), '')
    const { code, stderr } = await home.fairlead(['up', dir])
    assert.equal(code, 2)
    assert.match(stderr, /it has no lock file/)
    assert.match(stderr, /npm install/)
    await assertNothingRuns(home)
  })

  it('a public port that another program holds', async () => {
    const port = await freePort()
    await using home = new Home({ SHOP_PORT: String(port) })
    const holder = createServer().listen(port, '127.0.0.1')
    try {
      const { code, stderr } = await home.fairlead(['up', 'examples/shop'])
      assert.equal(code, 1)
      assert.match(stderr, new RegExp(String(port)))
      assert.match(stderr, /in use/)
      await assertNothingRuns(home)
    } finally {
      holder.close()
    }
  })

  it('an API port that another program holds', async () => {
    await using home = new Home()
    const port = await freePort()
    const holder = createServer().listen(port, '127.0.0.1')
    try {
      const { code, stderr } = await home.fairlead(['cluster', 'start', '--port', String(port)])
      assert.equal(code, 1)
      assert.match(stderr, new RegExp(String(port)))
      assert.match(stderr, /in use/)
      await assertNothingRuns(home)
    } finally {
      holder.close()
    }
  })

  it('containers demanded where there is no runc', async () => {
    await using home = new Home()
    const { code, stderr } = await home.fairlead(['cluster', 'start', '--runtime', 'runc'], {
      env: { PATH: emptyPath() },
    })
    assert.equal(code, 1)
    assert.match(stderr, /runc/)
    assert.match(stderr, /apt-get install|--runtime/)
    await assertNothingRuns(home)
  })

  it(
    'a service that crashes on start: shows its last words and stops what it started',
    { skip: containers },
    async () => {
      await using home = new Home()
      const dir = plainService('crasher', "console.error('cannot reach database db.internal:5432')\nprocess.exit(7)\n")
      const { code, stderr } = await home.fairlead(['up', dir])
      assert.equal(code, 1)
      assert.match(stderr, /crasher/)
      assert.match(stderr, /exit(ed)?( with)?( code)? 7/)
      assert.match(stderr, /cannot reach database db\.internal:5432/)
      await assertNothingRuns(home)
    },
  )

  it(
    'a full disk while building: nothing half-written, and the build works once there is room',
    { skip: containers },
    async () => {
      const disk = mountTmpfs('build-disk', '3m')
      try {
        await using home = new Home({ FAIRLEAD_HOME: join(disk, 'home') })
        const dir = plainService(
          'roomy',
          "require('node:http').createServer((q, s) => s.end()).listen(process.env.PORT)\n",
        )
        const full = await home.fairlead(['build', dir])
        assert.equal(full.code, 1)
        assert.match(full.stderr, /full|no space/i)
        assert.match(full.stderr, new RegExp(disk))
        const leftovers = execFileSync('find', [disk, '-type', 'f', '-name', '*tmp*'], { encoding: 'utf8' })
        assert.equal(leftovers, '')
        execFileSync('mount', ['-o', 'remount,size=300m', disk])
        await home.fairleadOk(['build', dir])
      } finally {
        execFileSync('umount', [disk])
      }
    },
  )

  it(
    'a full disk under the cluster: refuses writes with the reason, keeps what it acknowledged',
    { skip: containers || missing(['kubectl']) },
    async () => {
      const disk = mountTmpfs('cluster-disk', '48m')
      try {
        await using home = new Home({ FAIRLEAD_HOME: join(disk, 'home') })
        await home.fairleadOk(['cluster', 'start'])
        const kubectl = createKubectl(await home.kubeconfig(), scratch)
        const acknowledged: string[] = []
        let refusal = ''
        const payload = 'x'.repeat(400_000)
        for (let number = 0; number < 400 && refusal === ''; number += 1) {
          const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `map-${number}` }, data: { payload } }
          const finished = await kubectl.raw(['create', '-f', '-'], JSON.stringify(map))
          if (finished.code === 0) acknowledged.push(map.metadata.name)
          else refusal = finished.stderr
        }
        assert.match(refusal, /disk|space/i)
        const present = async (): Promise<Set<string>> =>
          new Set((await kubectl('get configmaps -o name')).split('\n').map((line) => line.replace('configmap/', '')))
        const seen = await present()
        assert.deepEqual(
          acknowledged.filter((name) => !seen.has(name)),
          [],
        )
        execFileSync('mount', ['-o', 'remount,size=400m', disk])
        await kubectl('create configmap after --from-literal=a=1')
        const status = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
        process.kill(status.pid, 'SIGKILL')
        await home.fairleadOk(['cluster', 'start'])
        const after = await present()
        assert.deepEqual(
          [...acknowledged, 'after'].filter((name) => !after.has(name)),
          [],
        )
      } finally {
        execFileSync('umount', [disk])
      }
    },
  )

  it('wrong usage: unknown commands and flags exit with 2 and suggest', async () => {
    await using home = new Home()
    const command = await home.fairlead(['upp'])
    assert.equal(command.code, 2)
    assert.match(command.stderr, /\bup\b/)
    const flag = await home.fairlead(['build', '--ouptut', 'x'])
    assert.equal(flag.code, 2)
    assert.match(flag.stderr, /--ouptut/)
  })

  function plainService(name: string, source: string): string {
    const dir = join(scratch, name)
    mkdirSync(dir)
    writeFileSync(join(dir, 'main.js'), source)
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name, version: '1.0.0', main: 'main.js' }))
    writeFileSync(
      join(dir, 'package-lock.json'),
      JSON.stringify({
        name,
        version: '1.0.0',
        lockfileVersion: 3,
        requires: true,
        packages: { '': { name, version: '1.0.0' } },
      }),
    )
    return dir
  }

  function mountTmpfs(name: string, size: string): string {
    const dir = join(scratch, name)
    mkdirSync(dir)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir])
    return dir
  }

  /** A PATH with node and the usual tools, but without container runtimes. */
  function emptyPath(): string {
    const dir = join(scratch, 'bin')
    mkdirSync(dir)
    for (const program of ['node', 'sh', 'env'])
      writeFileSync(
        join(dir, program),
        `#!/bin/sh\nexec ${program === 'node' ? process.execPath : `/bin/${program}`} "$@"\n`,
        { mode: 0o755 },
      )
    return dir
  }

  /** No process has this home in its environment or arguments. */
  async function assertNothingRuns(home: Home): Promise<void> {
    const running = readdirSync('/proc').filter((entry) => {
      if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return false
      try {
        return (
          readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(home.dir) ||
          readFileSync(`/proc/${entry}/environ`, 'utf8').includes(home.dir)
        )
      } catch {
        return false
      }
    })
    assert.deepEqual(
      running
        .map((entry) => (existsSync(`/proc/${entry}/cmdline`) ? readFileSync(`/proc/${entry}/cmdline`, 'utf8') : ''))
        .filter((line) => line !== ''),
      [],
    )
  }
})

describe('an application that knows nothing of Fairlead', { skip: containers }, () => {
  it('builds and runs with nothing but defaults, native addon included', async () => {
    await using home = new Home()
    const dir = join(scratch, 'legacy-copy')
    cpSync(join(repository, 'examples', 'legacy'), dir, {
      recursive: true,
      filter: (file) => !file.includes('node_modules'),
    })
    const { stdout } = await home.fairleadOk(['up', dir, '--json'])
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0]
    assert.ok(url !== undefined, stdout)
    const page = await fetch(url, { signal: AbortSignal.timeout(30_000) })
    assert.equal(page.status, 200)
  })
})
