// The command as a child process: what a person types, sees and gets back as exit code.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../bin/fairlead.mjs', import.meta.url))

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function temporary(files: Record<string, string> = {}): Disposable & { path: string } {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-cli-'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder.path, name)), { recursive: true })
    writeFileSync(join(folder.path, name), text)
  }
  return { path: folder.path, [Symbol.dispose]: () => folder.remove() }
}

function fairlead(home: string, ...args: string[]): Promise<Finished> {
  const { promise, resolve } = Promise.withResolvers<Finished>()
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const env = { ...inherited, FAIRLEAD_HOME: home, FAIRLEAD_CACHE: join(home, 'cache') }
  execFile(process.execPath, [launcher, ...args], { env, timeout: 60_000 }, (error, stdout, stderr) =>
    resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
  )
  return promise
}

describe('fairlead', () => {
  const wrong = [
    { args: [], stderr: /^$/ },
    { args: ['frobnicate'], stderr: /there is no such command\nhint: Run fairlead help/ },
    { args: ['statsu'], stderr: /hint: Did you mean fairlead status\?/ },
    { args: ['cluster'], stderr: /it needs one of start, stop/ },
    { args: ['cluster', 'strat'], stderr: /hint: Did you mean fairlead cluster start\?/ },
    { args: ['up', '--detahc'], stderr: /there is no option "--detahc"\nhint: Did you mean --detach\?/ },
    { args: ['up', '--timeout', 'soon'], stderr: /expected a time such as 90s/ },
    { args: ['logs', '--tail', '-1'], stderr: /error: Cannot/ },
    { args: ['cluster', 'start', '--port', '70000'], stderr: /expected a whole number between 1 and 65535/ },
    { args: ['cluster', 'start', '--runtime', 'docker'], stderr: /expected one of auto, runc, process/ },
    { args: ['up', '--base', 'debian:::'], stderr: /Cannot parse image reference "debian:::"/ },
    { args: ['build', '--base', ''], stderr: /Cannot parse image reference ""/ },
    { args: ['explain'], stderr: /the argument CODE is missing/ },
    { args: ['up', 'a', 'b'], stderr: /the argument "b" is one too many/ },
  ]
  for (const { args, stderr } of wrong) {
    it(`exits with 2 for "fairlead ${args.join(' ')}"`, async () => {
      using home = temporary()
      const finished = await fairlead(home.path, ...args)
      assert.equal(finished.code, 2)
      assert.match(finished.stderr, stderr)
    })
  }

  it('prints help, versions and results on stdout, nothing else', async () => {
    using home = temporary()
    for (const args of [
      ['--help'],
      ['help', 'up'],
      ['cluster', '--help'],
      ['help', 'cluster'],
      ['up', '--help'],
      ['version'],
      ['--version'],
      ['version', '--json'],
    ]) {
      const finished = await fairlead(home.path, ...args)
      assert.deepEqual([finished.code, finished.stderr], [0, ''], args.join(' '))
      assert.notEqual(finished.stdout, '')
    }
  })

  it('prints an error without colours to a pipe', async () => {
    using home = temporary()
    const { code, stdout, stderr } = await fairlead(home.path, 'status')
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.equal(
      stderr,
      [
        'error: Cannot connect to cluster "embedded": it is not running',
        'hint: Start it with fairlead cluster start or fairlead up, or name another with --context',
        'more: fairlead explain FAIRLEAD_CLI_CLUSTER_ABSENT',
        '',
      ].join('\n'),
    )
  })

  it('names file, line and the key that was meant for a typo in a config, and exits with 2', async () => {
    using home = temporary()
    using app = temporary({
      'fairlead.config.ts': `import { defineApp } from '@fairlead/delivery/app'
export default defineApp({
  name: 'shop',
  services: {
    web: { dir: '.', replicaz: 2, public: '80' },
  },
})
`,
    })
    const { code, stdout, stderr } = await fairlead(home.path, 'up', app.path)
    const file = join(app.path, 'fairlead.config.ts')
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.equal(
      stderr,
      [
        `error: Cannot load app "${file}": 2 problems`,
        `  ${file}:5: services.web.public is "80", expected true, false or a port between 1 and 65535`,
        `  ${file}:5: services.web.replicaz is not a known key, did you mean "replicas"?`,
        'hint: Correct the file and run the command again',
        'more: fairlead explain FAIRLEAD_DELIVERY_APP_INVALID',
        '',
      ].join('\n'),
    )
  })

  it('exits with 2 for a folder that holds no app', async () => {
    using home = temporary()
    using app = temporary()
    const { code, stderr } = await fairlead(home.path, 'build', app.path)
    assert.equal(code, 2)
    assert.match(stderr, /no fairlead\.config\.ts and no package\.json/)
  })

  it('refuses a public port that is taken before it starts anything, and names the holder', async () => {
    using home = temporary()
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    // A TCP server has an address with a port.
    const { port } = server.address() as AddressInfo
    using app = temporary({
      'fairlead.config.json': JSON.stringify({ name: 'taken', services: { web: { dir: '.', public: port } } }),
      'package.json': '{"name":"web"}',
    })
    try {
      const { code, stderr } = await fairlead(home.path, 'up', app.path)
      assert.equal(code, 1)
      const holder = process.platform === 'linux' ? ` by process ${process.pid} ` : ''
      assert.ok(stderr.includes(`Cannot use port "${port}" for the service "web": the port is in use${holder}`), stderr)
      assert.match(stderr, /hint: Set "public" of the service "web" to another port/)
      const status = await fairlead(home.path, 'cluster', 'status', '--json')
      assert.equal(JSON.parse(status.stdout).state, 'stopped')
    } finally {
      server.close()
    }
  })

  it('explains the code of an error, and suggests the nearest', async () => {
    using home = temporary()
    const explained = await fairlead(home.path, 'explain', 'fairlead_cli_port_in_use')
    assert.equal(explained.code, 0)
    assert.match(explained.stdout, /^FAIRLEAD_CLI_PORT_IN_USE\n\n\w/)
    const unknown = await fairlead(home.path, 'explain', 'FAIRLEAD_CLI_PORT_IN_US')
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /hint: Did you mean FAIRLEAD_CLI_PORT_IN_USE\?/)
  })

  it('has nothing to stop where nothing runs', async () => {
    using home = temporary()
    for (const args of [['down'], ['down', '--purge'], ['cluster', 'stop'], ['cluster', 'reset']]) {
      assert.equal((await fairlead(home.path, ...args)).code, 0, args.join(' '))
    }
    assert.equal((await fairlead(home.path, 'cluster', 'status')).code, 1)
  })
})
