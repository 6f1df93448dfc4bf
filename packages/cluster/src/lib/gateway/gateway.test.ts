import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createKubeClient, isAlreadyExists } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Condition } from '@fairlead/kube/types/meta-v1'
import { createApiServer } from '../apiserver/server.ts'
import { eventually } from '../controllers/testing/workbench.ts'
import { openStore } from '../storage/store.ts'
import { bundleAnnotation, bundleVersion } from './definitions/definition.ts'
import { installDefinitions } from './definitions/install.ts'
import { gatewayUser, openGateway } from './gateway.ts'
import type { Redirect } from './gateway.ts'
import { publishMetrics } from './metrics-service.ts'

interface GatewayBench extends AsyncDisposable {
  readonly admin: KubeClient
  /** With the rights of the gateway and no others. */
  readonly client: KubeClient
  readonly errors: string[]
  readonly redirects: () => ReadonlyMap<string, Redirect>
}

/** An API server in memory, and the gateway with the rights it has in a cluster, so that a role that lacks one is found out here. */
async function openGatewayBench(): Promise<GatewayBench> {
  const store = await openStore({ dir: '', durability: 'memory' })
  const server = createApiServer({ store })
  const admin = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
  const transport = server.transport({ user: gatewayUser, groups: ['system:authenticated'] })
  const client = createKubeClient({ transport })
  const errors: string[] = []
  let redirects: ReadonlyMap<string, Redirect> = new Map()
  const gateway = await openGateway({
    client,
    meshHost: '127.0.0.1',
    redirect: async (next) => void (redirects = next),
    onError: (error) => errors.push(error instanceof Error ? error.message : String(error)),
  })
  return {
    admin,
    client,
    errors,
    redirects: () => redirects,
    async [Symbol.asyncDispose]() {
      await gateway.close()
      await server.close()
      await store.close()
    },
  }
}

async function createService(admin: KubeClient, name: string): Promise<void> {
  const spec = { selector: { app: name }, ports: [{ name: 'http', port: 80 }] }
  await admin.resource('v1/Service').create({ metadata: { name }, spec }, { namespace: 'default' })
}

void describe('openGateway', () => {
  it('does all it has to with a role of its own', async () => {
    await using bench = await openGatewayBench()
    const { admin } = bench
    await createService(admin, 'web')
    const route = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
        rules: [{ backendRefs: [{ name: 'web', port: 80 }] }],
      },
    }
    await admin.object(route.apiVersion, route.kind).create(route)
    const backend = { service: { name: 'web', port: { number: 80 } } }
    const ingress = {
      metadata: { name: 'web' },
      // A Secret that is not there: it is looked for, and an Event says so.
      spec: { defaultBackend: backend, tls: [{ secretName: 'absent' }] },
    }
    await admin.resource('networking.k8s.io/v1/Ingress').create(ingress, { namespace: 'default' })
    await eventually('a redirect', async () => bench.redirects().has('default/web/80'))
    await eventually('the status of the route', async () => {
      const { status } = (await admin.object(route.apiVersion, route.kind).get('web', { namespace: 'default' })) as {
        status?: { parents?: { conditions?: Condition[] }[] }
      }
      return status?.parents?.[0]?.conditions?.some(({ type, status: is }) => type === 'Accepted' && is === 'True')
    })
    await eventually('the status of the Ingress', async () => {
      const { status } = await admin.resource('networking.k8s.io/v1/Ingress').get('web', { namespace: 'default' })
      return (status?.loadBalancer?.ingress ?? []).length > 0
    })
    await eventually('an Event', async () => {
      const { items } = await admin.resource('v1/Event').list({ namespace: 'default' })
      return items.some(({ reason, message }) => reason === 'NotServed' && message?.includes('absent') === true)
    })
    assert.deepEqual(bench.errors, [])
  })

  it('may also publish its metrics, again after a restart, and renew kinds of an older version', async () => {
    await using bench = await openGatewayBench()
    const { admin, client } = bench
    await admin
      .resource('v1/Namespace')
      .create({ metadata: { name: 'kube-system' } })
      .catch(ignoreExisting)
    const { signal } = new AbortController()
    for (const port of [4001, 4002]) await publishMetrics({ client, host: '10.64.0.1', port, signal })
    const slices = admin.resource('discovery.k8s.io/v1/EndpointSlice')
    const { ports } = await slices.get('fairlead-gateway', { namespace: 'kube-system' })
    assert.equal(ports?.[0]?.port, 4002)
    const definitions = admin.resource('apiextensions.k8s.io/v1/CustomResourceDefinition')
    for (const { metadata } of (await definitions.list()).items) {
      const body = { metadata: { annotations: { [bundleAnnotation]: 'older' } } }
      await definitions.patch(metadata?.name ?? '', { type: 'merge', body })
    }
    await installDefinitions(client)
    const renewed = (await definitions.list()).items.map(({ metadata }) => metadata?.annotations?.[bundleAnnotation])
    assert.deepEqual([...new Set(renewed)], [bundleVersion])
  })

  it('may not do what it has no business with', async () => {
    await using bench = await openGatewayBench()
    const { client } = bench
    await assert.rejects(client.resource('v1/Secret').create({ metadata: { name: 'a' } }, { namespace: 'default' }), {
      reason: 'Forbidden',
    })
    await assert.rejects(client.resource('v1/Pod').delete('a', { namespace: 'default' }), { reason: 'Forbidden' })
    await assert.rejects(client.resource('v1/Service').create({ metadata: { name: 'a' } }, { namespace: 'default' }), {
      reason: 'Forbidden',
    })
  })
})

function ignoreExisting(error: unknown): void {
  if (!isAlreadyExists(error)) throw error
}
