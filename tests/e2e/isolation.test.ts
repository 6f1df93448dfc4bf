// What a program in a pod may not: see the machine, write where it should not, gain rights, take more than its share.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, type Finished, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Stays; takes memory or processes where it is told to. */
const program = `
const kept = []
if (process.argv[2] === 'memory') setInterval(() => kept.push(Buffer.alloc(8 << 20, 1)), 10)
setInterval(() => {}, 60_000)
process.on('SIGTERM', () => process.exit(0))
`

describe('isolation of pods', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string

  before(async () => {
    home = new Home()
    image = await buildProgram(home, { name: 'inmate', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', pod('plain', {}))
    await kubectl('apply -f -', pod('locked', { securityContext: locked }))
    await kubectl('wait --for=condition=Ready pod/plain pod/locked --timeout=180s')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('shows no process of the machine', async () => {
    const seen = await inPod('plain', "fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).length")
    // Its own first process, and the one that asks.
    assert.ok(Number(seen.stdout) <= 3, seen.stdout)
    const killed = await inPod('plain', `process.kill(${process.pid}, 0)`)
    assert.match(killed.stderr, /ESRCH/)
  })

  it('shows no file and no device of the machine', async () => {
    const there = await inPod(
      'plain',
      `[${JSON.stringify(home.dir)}, '/root/.ssh', '/dev/sda', '/dev/vda', '/dev/kmsg'].filter(fs.existsSync)`,
    )
    assert.equal(there.stdout.trim(), '[]')
    const made = await inPod('plain', "fs.writeFileSync('/proc/sys/kernel/hostname', 'mine')")
    assert.match(made.stderr, /EROFS|EACCES/)
    const looked = await inPod('plain', "fs.readFileSync('/proc/kcore').length")
    assert.notEqual(looked.code, 0)
  })

  it('has a root file system that nothing is written to, where the pod says so', async () => {
    assert.match((await inPod('locked', "fs.writeFileSync('/file', '')")).stderr, /EROFS|EACCES/)
    assert.equal((await inPod('plain', "fs.writeFileSync('/tmp/file', '')")).code, 0)
  })

  it('has no rights, and no way to gain them', async () => {
    const status = (await inPod('locked', "fs.readFileSync('/proc/self/status', 'utf8')")).stdout
    for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.match(status, new RegExp(`${set}:\\s+0000000000000000`))
    assert.match(status, /NoNewPrivs:\s+1/)
    assert.match(status, /Seccomp:\s+2/)
    assert.match((await inPod('locked', 'process.setuid(0)')).stderr, /EPERM/)
    // Few are left to those that ask for nothing: not those that load modules, trace, mount or change the network.
    const plain = (await inPod('plain', "fs.readFileSync('/proc/self/status', 'utf8')")).stdout
    const bounding = BigInt(`0x${/CapBnd:\s+(\w+)/.exec(plain)?.[1]}`)
    const sysModule = 16n
    const [netAdmin, sysPtrace, sysAdmin] = [12n, 19n, 21n]
    for (const capability of [sysModule, netAdmin, sysPtrace, sysAdmin]) assert.equal((bounding >> capability) & 1n, 0n)
  })

  it('cannot read the Secrets of another namespace with its token', async () => {
    await kubectl('create namespace vault')
    await kubectl('-n vault create secret generic key --from-literal=value=hunter2')
    const answer = await inPod(
      'plain',
      `void (async () => {
        const folder = '/var/run/secrets/kubernetes.io/serviceaccount/'
        const token = fs.readFileSync(folder + 'token', 'utf8')
        const ca = fs.readFileSync(folder + 'ca.crt')
        const path = '/api/v1/namespaces/vault/secrets/key'
        const headers = { authorization: 'Bearer ' + token }
        require('https').get({ host: 'kubernetes.default.svc', path, headers, ca }, (it) => it.destroy(console.log(it.statusCode)))
      })()`,
    )
    assert.match(answer.stdout, /^403$/m)
    assert.match(
      await kubectl('auth can-i get secrets -n vault --as=system:serviceaccount:default:default').catch(String),
      /no/,
    )
  })

  it('is killed when it takes more memory than it has, and nothing else is', async () => {
    await kubectl('apply -f -', pod('greedy', { args: ['memory'], resources: { limits: { memory: '64Mi' } } }))
    const reason = 'get pod greedy -o jsonpath={.status.containerStatuses[0].state.terminated.reason}'
    await eventually('the kill', async () => (await kubectl(reason)) === 'OOMKilled', 60_000)
    assert.equal(await kubectl('get pod plain -o jsonpath={.status.containerStatuses[0].restartCount}'), '0')
  })

  it('cannot fill the machine with processes', async () => {
    const file = "['/sys/fs/cgroup/pids.max', '/sys/fs/cgroup/pids/pids.max'].find(fs.existsSync)"
    const { stdout } = await inPod('plain', `fs.readFileSync(${file}, 'utf8').trim()`)
    assert.ok(Number(stdout) > 0 && Number(stdout) <= 4096, stdout)
  })

  /** Evaluates an expression in the pod, by the Node.js that is in its image. */
  async function inPod(name: string, expression: string): Promise<Finished> {
    return await kubectl.raw([
      'exec',
      name,
      '--',
      'node',
      '-e',
      `const value = ${expression}; if (value !== undefined) console.log(value)`,
    ])
  }

  function pod(name: string, more: object): string {
    const spec = {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'main', image, ...more }],
    }
    return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })
  }
})

const locked = {
  runAsUser: 4321,
  runAsNonRoot: true,
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}
