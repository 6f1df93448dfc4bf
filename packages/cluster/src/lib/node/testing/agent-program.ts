// A cluster of API server, network and node in a process of its own, to be killed by tests. `agent-program.ts DIR MODE`
// makes the pod "web" unless it is there, prints one line about it when it is ready, and stops with its pods at SIGTERM.
import { join } from 'node:path'
import { createKubeClient, isAlreadyExists } from '@fairlead/kube'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { createApiServer } from '../../apiserver/server.ts'
import { openPodNetwork } from '../../network/pod-network.ts'
import { openStore } from '../../storage/store.ts'
import { runNode } from '../node.ts'
import { IMAGE, NODE_NAME, isReady, until } from './world.ts'

const [, , dir = '', mode = 'namespaces'] = process.argv
const isProcess = mode === 'processes'
const store = await openStore({ dir: join(dir, 'storage') })
const server = createApiServer({ store })
await server.ready()
const client = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
const network = await openPodNetwork({ dir, mode: isProcess ? 'processes' : 'namespaces', ready: 1 })
const agent = await runNode({
  client,
  nodeName: NODE_NAME,
  dir: join(dir, 'node'),
  images: join(dir, 'images'),
  runtime: isProcess ? 'process' : 'runc',
  network,
  clusterDns: '',
})
process.once('SIGTERM', () => void stop())

const pods = client.resource('v1/Pod')
const address = isProcess ? '$FAIRLEAD_POD_IP:8080' : '8080'
const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    nodeName: NODE_NAME,
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'main',
        image: IMAGE,
        args: [`exec httpd -f -p ${address} -h .`],
        readinessProbe: { httpGet: { port: 8080, path: '/index.html' } },
      },
    ],
  },
}
await pods.create(pod).catch((error: unknown) => {
  if (!isAlreadyExists(error)) throw error
})
const ready = await until(async () => {
  const found = await pods.get('web', { namespace: 'default' })
  return isReady(found) ? found : undefined
}, 'the pod is ready')
const status = ready.status?.containerStatuses?.[0]
process.stdout.write(
  `${JSON.stringify({ id: status?.containerID, restarts: status?.restartCount, ip: ready.status?.podIP })}\n`,
)

async function stop(): Promise<void> {
  await agent.stop({ stopPods: true, graceMs: 200 })
  await network.close({ remove: true })
  await server.close()
  await store.close()
}
