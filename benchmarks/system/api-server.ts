// The API server alone, for the api benchmark: `node api-server.ts DIR DURABILITY`. Prints one line of JSON when it answers:
// its port, the authority of its certificate, and the token of an administrator.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
import type { Durability } from '@fairlead/cluster/apiserver'

import { keepYoungGenerationSmall } from '../../packages/cli/src/lib/embedded/young-generation.ts'
import { loadPki } from '../../packages/cluster/src/lib/pki.ts'

const [dir = '', durability = 'strict'] = process.argv.slice(2)
const startedAt = performance.now()
// As the cluster process does it.
const calm = keepYoungGenerationSmall()
const token = randomUUID()
const store = await openStore({ dir: join(dir, 'storage'), durability: durability as Durability })
const pki = await loadPki(dir)
const server = createApiServer({
  store,
  tokens: new Map([[token, { user: 'benchmark', groups: ['system:masters', 'system:authenticated'] }]]),
  onError: (error) => console.error(error),
})
const { port } = await server.listen({ tls: { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca } })
console.log(JSON.stringify({ port, token, ca: pki.ca, readyMs: performance.now() - startedAt }))
calm[Symbol.dispose]()

// Standard input closes when the benchmark ends, however it ends.
process.stdin.resume().on('end', () => {
  void server
    .close()
    .then(() => store.close())
    .then(() => process.exit(0))
})
