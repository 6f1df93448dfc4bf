// An API server with controllers and without nodes, in memory: `node server.ts DIR CLIENT_CA`, where certificates that the authority in the
// file CLIENT_CA signed are believed too. Prints one line of JSON when it answers; ends with its standard input.
import { readFile } from 'node:fs/promises'
import { inspect } from 'node:util'
import { createKubeClient } from '@fairlead/kube'
import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
import { createCertificateSigner } from '../../../packages/cluster/src/lib/certificate-signer.ts'
import { runControllers } from '../../../packages/cluster/src/lib/controllers/run-controllers.ts'
import { keepKubernetesService } from '../../../packages/cluster/src/lib/kubernetes-service.ts'
import { loadPki } from '../../../packages/cluster/src/lib/pki.ts'

const serviceCidr = '10.0.0.0/24'
const [dir = '', clientCa = ''] = process.argv.slice(2)
const onError = (error: unknown): void => void process.stderr.write(`${inspect(error)}\n`)
const store = await openStore({ dir: '', durability: 'memory' })
const pki = await loadPki(dir)
const server = createApiServer({
  store,
  serviceCidr,
  controllers: true,
  // Upstream allows no such requests beside the authorizer AlwaysAllow.
  anonymous: false,
  tokens: new Map([['admin-token', { user: 'admin', groups: ['system:masters', 'system:authenticated'] }]]),
  onError,
})
const ca = `${pki.ca}\n${await readFile(clientCa, 'utf8')}`
const { port } = await server.listen({ tls: { key: pki.server.key, cert: pki.server.certificate, ca } })
const client = createKubeClient({ transport: server.transport({ user: 'components', groups: ['system:masters'] }) })
await allowAll()
const ending = new AbortController()
const { signal } = ending
const controllers = runControllers({
  client,
  caCertificate: pki.ca,
  signCertificate: createCertificateSigner(pki.authority),
  signal,
  onError,
})
const service = keepKubernetesService({
  client,
  serviceCidr,
  clusterIP: '10.0.0.1',
  host: '127.0.0.1',
  port,
  signal,
  onError,
})
process.stdout.write(`${JSON.stringify({ port })}\n`)

process.stdin.resume().on('end', () => {
  ending.abort()
  void Promise.all([controllers, service])
    .then(() => server.close())
    .then(() => process.exit(0))
})

/** The tests run with the authorizers RBAC and AlwaysAllow, and act as users, or ask about groups, that no role knows. */
async function allowAll(): Promise<void> {
  await client.resource('rbac.authorization.k8s.io/v1/ClusterRoleBinding').create({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'always-allow' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: ['system:authenticated', 'the-group'].map((name) => ({
      kind: 'Group',
      apiGroup: 'rbac.authorization.k8s.io',
      name,
    })),
  })
}
