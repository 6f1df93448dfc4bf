import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'

import { missesKubectl, serveKubectl } from './test-kubectl.ts'
import { startTestServer } from './test-server.ts'
import type { TestServer } from './test-server.ts'

const run = promisify(execFile)
const isSkipped = missesKubectl()

/** Command lines in the namespace `verbs`, in this order, with what they print. */
const generators: [command: string, printed: RegExp][] = [
  ['create namespace verbs', /^namespace\/verbs created/],
  ['create deployment web --image=app:1 --replicas=2 --port=80', /^deployment.apps\/web created/],
  ['create configmap settings --from-literal=a=b', /^configmap\/settings created/],
  ['create secret generic hidden --from-literal=a=b', /^secret\/hidden created/],
  ['create secret docker-registry registry --docker-server=x --docker-username=u --docker-password=p', /created/],
  ['create service clusterip inner --tcp=80', /^service\/inner created/],
  ['create service nodeport outer --tcp=80:8080', /^service\/outer created/],
  ['create service externalname other --external-name=example.com', /^service\/other created/],
  ['create service loadbalancer balanced --tcp=80', /^service\/balanced created/],
  ['create ingress front --rule=example.com/*=web:80', /^ingress.networking.k8s.io\/front created/],
  ['create quota bounds --hard=configmaps=50', /^resourcequota\/bounds created/],
  ['create poddisruptionbudget steady --selector=app=web --min-available=1', /steady created/],
  ['create priorityclass high --value=10', /high created/],
  ['create role reader --verb=get --resource=pods', /reader created/],
  ['create rolebinding readers --role=reader --user=joe', /readers created/],
  ['create clusterrole viewer --verb=get --resource=nodes', /viewer created/],
  ['create clusterrolebinding viewers --clusterrole=viewer --user=joe', /viewers created/],
  ['create job once --image=app:1', /^job.batch\/once created/],
  ['create job again --from=cronjob/often', /cronjobs.batch "often" not found/],
  ['create cronjob often --image=app:1 --schedule=@hourly', /^cronjob.batch\/often created/],
  ['create serviceaccount robot', /^serviceaccount\/robot created/],
  ['create token robot', /^[\w-]+\.[\w-]+\.[\w-]+/],
]

const changes: [command: string, printed: RegExp][] = [
  ['set env deploy/web COLOUR=blue', /env updated/],
  ['set resources deploy/web --limits=cpu=200m', /resource requirements updated/],
  ['set selector service outer app=web', /selector updated/],
  ['set serviceaccount deploy/web robot', /serviceaccount updated/],
  ['set subject rolebinding readers --user=ann', /subjects updated/],
  ['rollout pause deploy/web', /paused/],
  ['rollout resume deploy/web', /resumed/],
  ['scale deploy/web --replicas=3 --current-replicas=2', /scaled/],
  ['patch deploy web --subresource=scale --type=merge -p {"spec":{"replicas":4}}', /patched/],
  ['patch configmap settings -p {"data":{"c":"d"}}', /patched/],
  ['autoscale deploy web --min=1 --max=3 --cpu-percent=50', /autoscaled/],
  ['label configmap settings tier=front', /labeled/],
  ['label configmap settings tier=back', /already has a value \(front\), and --overwrite is false/],
  ['annotate configmap settings note=x', /annotated/],
  ['wait --for=jsonpath={.spec.replicas}=4 deploy/web --timeout=5s', /condition met/],
  ['wait --for=create configmap/settings --timeout=5s', /condition met/],
]

const views: [command: string, printed: RegExp][] = [
  ['get deploy web -o custom-columns=NAME:.metadata.name,N:.spec.replicas', /^NAME\s+N\nweb\s+4\n$/],
  ['get configmap settings -o jsonpath={.data}', /^\{"a":"b","c":"d"\}$/],
  ['get configmap --sort-by=.metadata.creationTimestamp', /^NAME\s+DATA\s+AGE\nsettings\s+2/],
  ['get configmap --server-print=false', /^NAME\s+AGE\nsettings/],
  ['get configmap -A -o name', /configmap\/settings/],
  [
    'get hpa',
    /^NAME\s+REFERENCE\s+TARGETS\s+MINPODS\s+MAXPODS\s+REPLICAS\s+AGE\nweb\s+Deployment\/web\s+cpu: <unknown>\/50%/,
  ],
  ['get quota,pdb,priorityclass', /resourcequota\/bounds[^]*poddisruptionbudget.policy\/steady[^]*high/],
  ['get volumeattachments,runtimeclasses,csidrivers', /^No resources found/],
  ['get --raw /api/v1/namespaces/verbs/configmaps?limit=1', /^\{"kind":"ConfigMapList"/],
  ['get configmap -l =x', /found '=', expected: !, identifier, or 'end of string'/],
  ['get configmap --field-selector spec.foo=1', /"spec\.foo" is not a known field selector: only "metadata\.name"/],
  ['explain deploy.spec.strategy', /FIELD: strategy <DeploymentStrategy>[^]*rollingUpdate\s+<RollingUpdateDeployment>/],
  ['explain pod.spec.containers.resources', /limits\s+<map\[string\]Quantity>/],
  ['explain service.spec.ports.targetPort', /FIELD: targetPort <IntOrString>/],
  ['explain pods --recursive', /containers\s+<\[\]Container> -required-\n\s+args\s+<\[\]string>/],
  ['explain hpa --api-version=autoscaling/v1', /VERSION:\s+v1\n/],
  ['api-resources --api-group=apps -o name', /^controllerrevisions.apps\ndaemonsets.apps\n/],
  ['cluster-info', /control plane[^]*is running at/],
  ['auth can-i --list', /\*\.\*/],
  ['auth can-i create pods --as=joe', /^no/],
  ['events', /No events found in verbs namespace/],
  ['describe ingress front', /example.com[^]*web:80/],
  ['describe quota bounds', /configmaps\s+1\s+50/],
  ['describe hpa web', /Deployment\/web/],
  ['describe cronjob often', /Schedule:\s+@hourly/],
]

describe('every verb of kubectl', { skip: isSkipped, timeout: 600_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-verbs-'))
  const env = { ...process.env, KUBECONFIG: join(dir, 'config'), HOME: dir }
  let api: TestServer

  before(async () => {
    api = await startTestServer()
    await serveKubectl(api.server, dir, env.KUBECONFIG)
  })

  after(async () => {
    await api[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })

  /** What a command prints, whether it fails or not. */
  async function kubectl(args: readonly string[], more: Record<string, string> = {}): Promise<string> {
    try {
      const found = await run('kubectl', ['-n', 'verbs', ...args], { env: { ...env, ...more }, timeout: 60_000 })
      return found.stdout + found.stderr
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
      return stdout + stderr
    }
  }

  function file(name: string, object: unknown): string {
    const path = join(dir, name)
    writeFileSync(path, typeof object === 'string' ? object : JSON.stringify(object))
    return path
  }

  const configMap = (name: string, data: object): object => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name },
    data,
  })

  for (const [title, lines] of [
    ['creates by every generator', generators],
    ['changes objects in place', changes],
    ['shows objects in every form', views],
  ] as const) {
    it(title, async () => {
      for (const [command, printed] of lines) assert.match(await kubectl(command.split(' ')), printed, command)
    })
  }

  it('edits, compares, replaces and applies from files', async () => {
    const first = file('first.json', configMap('made', { x: 'y' }))
    const second = file('second.json', configMap('made', { x: 'z' }))
    assert.match(await kubectl(['apply', '-f', first]), /created/)
    assert.match(await kubectl(['apply', 'view-last-applied', 'configmap/made']), /data:\n\s+x: "y"/)
    assert.match(await kubectl(['diff', '-f', second]), /-\s+x: "y"\n\+\s+x: z/)
    assert.match(await kubectl(['replace', '-f', second]), /replaced/)
    assert.match(
      await kubectl(['replace', '--force', '-f', first]),
      /deleted( from verbs namespace)?\nconfigmap\/made replaced/,
    )
    assert.match(
      await kubectl(['edit', 'configmap', 'made'], { KUBE_EDITOR: 'sed -i \'s/x: "y"/x: edited/\'' }),
      /edited/,
    )
    assert.equal(await kubectl(['get', 'configmap', 'made', '-o', 'jsonpath={.data.x}']), 'edited')
    const items = [configMap('one', {}), configMap('two', {})]
    const list = file('list.json', { apiVersion: 'v1', kind: 'List', items })
    assert.match(await kubectl(['create', '-f', list]), /configmap\/one created\nconfigmap\/two created/)
    file('kustomization.yaml', 'resources: [first.json]\nnamePrefix: pre-\n')
    assert.match(await kubectl(['apply', '-k', dir]), /configmap\/pre-made created/)
  })

  it('keeps pods from nodes, and drains them', async () => {
    const node = file('node.json', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } })
    assert.match(await kubectl(['create', '-f', node]), /created/)
    assert.match(await kubectl(['taint', 'node', 'n1', 'a=b:NoSchedule']), /tainted/)
    assert.match(await kubectl(['cordon', 'n1']), /cordoned/)
    assert.match(await kubectl(['get', 'nodes']), /n1\s+Unknown,SchedulingDisabled/)
    assert.match(await kubectl(['drain', 'n1', '--ignore-daemonsets']), /drained/)
    assert.match(await kubectl(['uncordon', 'n1']), /uncordoned/)
  })

  it('follows a list in pages while it is asked for rows', async () => {
    assert.match(await kubectl(['get', 'configmap', '--chunk-size=1']), /made[^]*settings/)
    const child = spawn('kubectl', ['-n', 'verbs', 'get', 'configmap', '-w', '--output-watch-events'], { env })
    try {
      for await (const chunk of child.stdout) if (/ADDED\s+settings/.test(String(chunk))) break
    } finally {
      child.kill()
    }
  })

  // Nobody lets go of dependents here: what is deleted with orphans stays until somebody does.
  it('deletes by name, by selector and all', async () => {
    assert.match(await kubectl(['delete', 'deploy', 'web', '--cascade=orphan', '--wait=false']), /deleted/)
    assert.match(await kubectl(['delete', 'configmap', '-l', 'tier=front']), /"settings" deleted/)
    assert.match(await kubectl(['delete', 'configmap', '--all']), /deleted/)
    assert.match(await kubectl(['wait', '--for=delete', 'configmap/made', '--timeout=5s']), /^$/)
  })
})
