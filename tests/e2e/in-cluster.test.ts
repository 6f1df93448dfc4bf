// A program in a pod and the API: it finds the Service `kubernetes`, shows the token it was given, and may do what its account may.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Asks the API as every client library in a cluster does; one line of JSON per question. */
const program = `
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
const account = '/var/run/secrets/kubernetes.io/serviceaccount'
const ca = readFileSync(account + '/ca.crt')
const token = readFileSync(account + '/token', 'utf8')
const namespace = readFileSync(account + '/namespace', 'utf8')
function ask(host, port, path, headers) {
  return new Promise((resolve) => {
    const asked = request({ host, port, path, ca, headers, timeout: 10_000 }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode))
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', (error) => resolve(error.message)).end()
  })
}
const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env
const bearer = { authorization: 'Bearer ' + token }
console.log(JSON.stringify({
  namespace,
  byName: await ask('kubernetes.default.svc', 443, '/version', bearer),
  own: await ask(host, port, '/api/v1/namespaces/' + namespace + '/configmaps', bearer),
  secretsOfOthers: await ask(host, port, '/api/v1/namespaces/kube-system/secrets', bearer),
  nobody: await ask(host, port, '/api/v1/namespaces/' + namespace + '/configmaps', {}),
  foreign: await ask(host, port, '/api', { authorization: 'Bearer not-a-token' }),
}))
`

describe('a program in a pod', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string

  before(async () => {
    home = new Home()
    image = await buildProgram(home, { name: 'asker', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('reaches the API by address and name, and is refused what its account may not', async () => {
    assert.deepEqual(await run('stranger'), {
      namespace: 'default',
      byName: 200,
      own: 403,
      secretsOfOthers: 403,
      nobody: 403,
      foreign: 401,
    })
  })

  it('may read what a role binding allows, and no more', async () => {
    await kubectl('create rolebinding readers --clusterrole=view --serviceaccount=default:default')
    const { own, secretsOfOthers } = await run('reader')
    assert.deepEqual([own, secretsOfOthers], [200, 403])
  })

  it('finds the Service again after somebody deleted it', async () => {
    const address = await kubectl('get service kubernetes -o jsonpath={.spec.clusterIP}')
    await kubectl('delete service kubernetes')
    const read = async () => await kubectl('get service kubernetes --ignore-not-found -o jsonpath={.spec.clusterIP}')
    await eventually('the Service', async () => (await read()) === address)
    assert.equal((await run('again'))['byName'], 200)
  })

  async function run(name: string): Promise<Record<string, unknown>> {
    const container = { name: 'main', image, env: [] }
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { restartPolicy: 'Never', containers: [container] },
    }
    await kubectl('apply -f -', JSON.stringify(pod))
    await kubectl(`wait --for=jsonpath={.status.phase}=Succeeded pod/${name} --timeout=180s`)
    return JSON.parse(await kubectl(`logs ${name}`))
  }
})
