// The real kubectl against the embedded cluster: what a developer types all day.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

describe('kubectl', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string
  let otherImage: string

  before(async () => {
    home = new Home()
    // Two versions of a service of a few lines, built like any other.
    image = await buildHello('v1')
    otherImage = await buildHello('v2')
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('version and api-resources', async () => {
    assert.match(await kubectl('version'), /Server Version: v1\.36/)
    const resources = await kubectl('api-resources')
    for (const line of [
      /^pods +po +v1 +true +Pod$/m,
      /^deployments +deploy +apps\/v1 +true +Deployment$/m,
      /^services +svc +v1/m,
    ])
      assert.match(resources, line)
  })

  it('apply -f twice: create, then change', async () => {
    assert.match(
      await kubectl('apply -f -', manifest({ replicas: 1 })),
      /deployment\.apps\/hello created\nservice\/hello created/,
    )
    await kubectl('wait --for=condition=Available deployment/hello --timeout=180s')
    assert.match(await kubectl('apply -f -', manifest({ replicas: 1 })), /deployment\.apps\/hello unchanged/)
    assert.match(await kubectl('apply -f -', manifest({ replicas: 2 })), /deployment\.apps\/hello configured/)
    await kubectl('rollout status deployment/hello --timeout=180s')
    assert.equal(await kubectl('get deployment hello -o jsonpath={.status.readyReplicas}'), '2')
  })

  it('get pods -o wide and get deploy,svc -o yaml', async () => {
    const pods = await kubectl('get pods -o wide')
    assert.match(pods, /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/)
    assert.match(pods, /^hello-[a-z0-9]+-[a-z0-9]{5} +1\/1 +Running +0 +\S+ +10\.\d+\.\d+\.\d+ /m)
    const yaml = await kubectl('get deploy,svc -o yaml')
    assert.match(yaml, /kind: Deployment/)
    assert.match(yaml, /kind: Service/)
    assert.match(yaml, /maxSurge: 25%/)
    const deployments = await kubectl('get deploy')
    assert.match(deployments, /^hello +2\/2 +2 +2 /m)
  })

  it('scale', async () => {
    assert.match(await kubectl('scale deployment/hello --replicas=3'), /scaled/)
    await eventually(
      'three ready replicas',
      async () => (await kubectl('get deployment hello -o jsonpath={.status.readyReplicas}')) === '3',
    )
    await kubectl('scale deployment/hello --replicas=1')
    await eventually(
      'one pod',
      async () => (await kubectl('get pods -l app=hello -o name')).trim().split('\n').length === 1,
    )
  })

  it('set image, rollout status, rollout history, rollout undo and rollout restart', async () => {
    await kubectl(`set image deployment/hello hello=${otherImage}`)
    assert.match(await kubectl('rollout status deployment/hello --timeout=180s'), /successfully rolled out/)
    assert.equal(await answer(), 'v2')
    assert.match(await kubectl('rollout history deployment/hello'), /^2 /m)
    await kubectl('rollout undo deployment/hello')
    await kubectl('rollout status deployment/hello --timeout=180s')
    assert.equal(await answer(), 'v1')
    const before = await kubectl('get pods -l app=hello -o name')
    await kubectl('rollout restart deployment/hello')
    await kubectl('rollout status deployment/hello --timeout=180s')
    await eventually('only new pods', async () => {
      const now = await kubectl('get pods -l app=hello -o name')
      return now !== '' && !before.split('\n').some((name) => name !== '' && now.includes(name))
    })
  })

  it('describe pod shows events', async () => {
    const name = (await kubectl('get pods -l app=hello -o name')).trim()
    const description = await kubectl(`describe ${name}`)
    assert.match(description, /Status: +Running/)
    assert.match(description, /Scheduled/)
    assert.match(description, /Pulled/)
    assert.match(description, /Started/)
  })

  it('logs and logs -f', async () => {
    const name = (await kubectl('get pods -l app=hello -o name')).trim()
    assert.match(await kubectl(`logs ${name}`), /hello listens/)
    await using follow = kubectl.start(['logs', '-f', name])
    await eventually('the first lines', () => follow.stdout.includes('hello listens'))
    await answer()
    await eventually('the new line', () => follow.stdout.includes('GET /'))
    assert.equal(follow.isRunning, true)
  })

  it('get pods -w reports changes as they happen', async () => {
    await using watch = kubectl.start(['get', 'pods', '-w'])
    await eventually('the table', () => /^hello-/m.test(watch.stdout))
    const before = watch.stdout
    await kubectl('scale deployment/hello --replicas=2')
    await eventually('a new pod on screen', () => /ContainerCreating|Running/.test(watch.stdout.slice(before.length)))
    await kubectl('scale deployment/hello --replicas=1')
    await eventually('a pod leaving the screen', () => watch.stdout.includes('Terminating'))
  })

  it('create namespace, label, annotate and delete --wait', async () => {
    assert.match(await kubectl('create namespace team-a'), /namespace\/team-a created/)
    await kubectl('label namespace team-a tier=gold')
    await kubectl('annotate namespace team-a note=first')
    assert.equal(
      await kubectl('get namespace team-a -o jsonpath={.metadata.labels.tier}/{.metadata.annotations.note}'),
      'gold/first',
    )
    await kubectl('create configmap settings --from-literal=a=1 -n team-a')
    await kubectl(`create deployment other --image=${image} -n team-a`)
    await kubectl('wait --for=condition=Available deployment/other -n team-a --timeout=180s')
    // Before its handler is there, a first process ignores SIGTERM, and Kubernetes waits the whole grace period.
    await eventually('the pod listens', async () =>
      (await kubectl('logs deployment/other -n team-a')).includes('hello listens'),
    )
    await kubectl('delete namespace team-a --wait --timeout=180s')
    assert.equal((await kubectl.raw(['get', 'namespace', 'team-a'])).code, 1)
    assert.match((await kubectl.raw(['get', 'deployment', 'other', '-n', 'team-a'])).stderr, /NotFound|not found/)
  })

  it('mounts configMaps and secrets, and updates them in the running pod', async () => {
    await kubectl('create configmap greeting --from-literal=word=first')
    await kubectl('create secret generic token --from-literal=value=s3cret')
    await kubectl('apply -f -', volumePod())
    await kubectl('wait --for=condition=Ready pod/reader --timeout=180s')
    const address = await kubectl('get pod reader -o jsonpath={.status.podIP}')
    const read = async (): Promise<string> =>
      (await fetch(`http://${address}:8080/file`, { signal: AbortSignal.timeout(10_000) })).text()
    assert.equal(await read(), 'first s3cret s3cret')
    await kubectl('create configmap greeting --from-literal=word=second --dry-run=client -o yaml').then((yaml) =>
      kubectl('apply -f -', yaml),
    )
    await eventually('the mounted file changed', async () => (await read()) === 'second s3cret s3cret', 90_000)
    await kubectl('delete pod reader --wait --timeout=180s')
  })

  it('kills a container that fails its liveness probe and reports crash loops', async () => {
    await kubectl('apply -f -', pod('crasher', ['-e', 'console.log("no database"); process.exit(3)']))
    await eventually('CrashLoopBackOff', async () => (await kubectl('get pod crasher')).includes('CrashLoopBackOff'))
    const status = JSON.parse(await kubectl('get pod crasher -o json')).status.containerStatuses[0]
    assert.equal(status.lastState.terminated.exitCode, 3)
    assert.match(await kubectl('logs crasher --previous'), /no database/)
    await kubectl('delete pod crasher --wait --timeout=180s')
  })

  it('answers with the messages users know', async () => {
    const typo = manifest({ replicas: 1 }).replace('"replicas"', '"replcas"')
    const strict = await kubectl.raw(['apply', '-f', '-'], typo)
    assert.equal(strict.code, 1)
    // kubectl looks at lists by itself, with the schema of OpenAPI v2, and leaves single objects to the server.
    assert.match(strict.stderr, /unknown field "replcas" in io\.k8s\.api\.apps\.v1\.DeploymentSpec/)
    const single = JSON.stringify(JSON.parse(typo).items[0])
    assert.match((await kubectl.raw(['apply', '-f', '-'], single)).stderr, /unknown field "spec\.replcas"/)
    const selector = await kubectl.raw([
      'patch',
      'deployment',
      'hello',
      '--type=merge',
      '-p',
      '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}',
    ])
    assert.match(selector.stderr, /field is immutable/)
    const absent = await kubectl.raw(['get', 'pod', 'absent'])
    assert.match(absent.stderr, /pods "absent" not found/)
    const missingImage = manifest({ replicas: 1 })
      .replaceAll('hello', 'ghost')
      .replace(image, 'localhost/absent/image:1')
    await kubectl('apply -f -', missingImage)
    await eventually('the image error', async () =>
      /ErrImagePull|ImagePullBackOff/.test(await kubectl('get pods -l app=ghost')),
    )
    await kubectl('delete deployment,service ghost --wait --timeout=180s')
  })

  it('delete --wait removes the deployment, its replica sets and its pods', async () => {
    await kubectl('delete deployment hello --wait --timeout=180s')
    await eventually('nothing is left', async () => (await kubectl('get replicasets,pods -l app=hello -o name')) === '')
  })

  async function buildHello(version: string): Promise<string> {
    const source = `
import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
const server = createServer((request, response) => {
  console.log(request.method + ' ' + request.url)
  if (request.url === '/file') return response.end([readFileSync('/etc/greeting/word', 'utf8'), readFileSync('/etc/token/value', 'utf8'), process.env.TOKEN].join(' '))
  response.end('${version}')
})
server.listen(Number(process.env.PORT ?? 8080), () => console.log('hello listens'))
process.on('SIGTERM', () => { server.close(); server.closeAllConnections() })
`
    return await buildProgram(home, { name: `hello-${version}`, source })
  }

  async function answer(): Promise<string> {
    const address = await kubectl('get service hello -o jsonpath={.spec.clusterIP}')
    return eventually('an answer', async () =>
      (await fetch(`http://${address}/`, { signal: AbortSignal.timeout(10_000) })).text(),
    )
  }

  function manifest(options: { replicas: number }): string {
    const labels = { app: 'hello' }
    const container = {
      name: 'hello',
      image,
      ports: [{ containerPort: 8080 }],
      readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
    }
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'hello' },
      spec: {
        replicas: options.replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 2, containers: [container] } },
      },
    }
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'hello' },
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
    }
    return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [deployment, service] })
  }

  function pod(name: string, args: string[]): string {
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [{ name: 'main', image, command: ['/nodejs/bin/node'], args }],
      },
    })
  }

  function volumePod(): string {
    const container = {
      name: 'main',
      image,
      env: [{ name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'token', key: 'value' } } }],
      readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
      volumeMounts: [
        { name: 'greeting', mountPath: '/etc/greeting' },
        { name: 'token', mountPath: '/etc/token' },
      ],
    }
    const volumes = [
      { name: 'greeting', configMap: { name: 'greeting' } },
      { name: 'token', secret: { secretName: 'token' } },
    ]
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'reader' },
      spec: { terminationGracePeriodSeconds: 1, containers: [container], volumes },
    })
  }
})
