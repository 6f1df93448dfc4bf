// Jobs and CronJobs with real containers, driven by the real kubectl.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Tells its index, and ends as it is told. */
const program = `
const { JOB_COMPLETION_INDEX: index, EXIT_CODE: exitCode } = process.env
console.log('index ' + index)
process.exit(Number(exitCode ?? 0))
`

describe('jobs', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string

  before(async () => {
    home = new Home()
    image = await buildProgram(home, { name: 'task', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('create job runs a container to its end, and delete takes everything away', async () => {
    assert.match(await kubectl(`create job once --image=${image}`), /job\.batch\/once created/)
    await kubectl('wait --for=condition=Complete job/once --timeout=180s')
    assert.match(await kubectl('get job once'), /^once +Complete +1\/1/m)
    assert.match(await kubectl('logs job/once'), /index undefined/)
    assert.match(await kubectl('describe job once'), /Completed +\S+ +job-controller +Job completed/)
    await kubectl('delete job once')
    await eventually('no pods', async () => (await kubectl('get pods -l job-name=once -o name')) === '')
  })

  it('gives each index its own pod, name and variable', async () => {
    await kubectl('apply -f -', job('parts', { completions: 3, parallelism: 2, completionMode: 'Indexed' }))
    await kubectl('wait --for=condition=Complete job/parts --timeout=180s')
    assert.equal(await kubectl('get job parts -o jsonpath={.status.completedIndexes}'), '0-2')
    const hosts = await kubectl('get pods -l job-name=parts -o jsonpath={.items[*].spec.hostname}')
    assert.deepEqual(hosts.split(' ').toSorted(), ['parts-0', 'parts-1', 'parts-2'])
    const logs = await kubectl('logs -l job-name=parts --tail=-1')
    assert.deepEqual(logs.trim().split('\n').toSorted(), ['index 0', 'index 1', 'index 2'])
  })

  it('fails by the rule that the exit code of a container meets', async () => {
    const rules = [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } }]
    await kubectl('apply -f -', job('strict', { podFailurePolicy: { rules } }, [{ name: 'EXIT_CODE', value: '42' }]))
    await kubectl('wait --for=condition=Failed job/strict --timeout=180s')
    const message = await kubectl(`get job strict -o jsonpath={.status.conditions[?(@.type=="Failed")].message}`)
    assert.match(
      message,
      /^Container main for pod default\/strict-\w{5} failed with exit code 42 matching FailJob rule at index 0$/,
    )
  })

  it('is suspended and resumed', async () => {
    await kubectl('apply -f -', job('nap', { suspend: true }))
    await kubectl('wait --for=condition=Suspended job/nap --timeout=180s')
    assert.equal(await kubectl('get pods -l job-name=nap -o name'), '')
    await kubectl('patch job nap -p {"spec":{"suspend":false}}')
    await kubectl('wait --for=condition=Complete job/nap --timeout=180s')
  })

  it('starts jobs by the clock, and by hand from a cron job', async () => {
    await kubectl('apply -f -', cronJob('tick'))
    await eventually(
      'a job',
      async () => (await kubectl('get cronjob tick -o jsonpath={.status.lastSuccessfulTime}')) !== '',
    )
    assert.match(await kubectl('create job --from=cronjob/tick by-hand'), /job\.batch\/by-hand created/)
    await kubectl('wait --for=condition=Complete job/by-hand --timeout=180s')
    await kubectl('delete cronjob tick')
    await eventually('its jobs are gone', async () => !(await kubectl('get jobs -o name')).includes('tick'))
  })

  function job(name: string, spec: object, env: object[] = []): string {
    const container = { name: 'main', image, env }
    const template = { spec: { restartPolicy: 'Never', containers: [container] } }
    return JSON.stringify({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name }, spec: { template, ...spec } })
  }

  function cronJob(name: string): string {
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image }] } }
    const spec = { schedule: '@every 2s', successfulJobsHistoryLimit: 50, jobTemplate: { spec: { template } } }
    return JSON.stringify({ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name }, spec })
  }
})
