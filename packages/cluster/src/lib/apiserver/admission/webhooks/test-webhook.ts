import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { loadPki } from '../../../pki.ts'
import type { TestServer } from '../../test-server.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- a review as it comes over the wire
export type Json = any

/** A webhook over HTTPS with an authority of its own, for tests. */
export interface TestWebhook extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly caBundle: string
  /** The requests of the reviews it got. */
  readonly seen: Json[]
  /** Connections it accepted. */
  readonly connections: () => number
  /** A configuration of this webhook for creating and changing ConfigMaps of the namespace `default`. */
  configuration(kind: 'Mutating' | 'Validating', name: string, more?: Json): Json
}

/** `answer` makes the response of a review out of its request; undefined never answers. */
export async function startWebhook(
  answer: (request: Json) => Json,
  host = '127.0.0.1',
  names: readonly string[] = [],
): Promise<TestWebhook> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-admission-'))
  const pki = await loadPki(dir, [host, ...names])
  const seen: Json[] = []
  let connections = 0
  const server = createServer({ key: pki.server.key, cert: pki.server.certificate }, async (request, response) => {
    let text = ''
    for await (const chunk of request) text += String(chunk)
    const { apiVersion, kind, request: asked } = JSON.parse(text)
    seen.push({ ...asked, path: request.url })
    const given = answer(asked)
    if (given === undefined) return
    if (typeof given === 'number') response.statusCode = given
    response.end(JSON.stringify({ apiVersion, kind, response: { uid: asked.uid, ...given } }))
  })
  server.on('secureConnection', () => (connections += 1))
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = `https://${host}:${port}/review`
  const caBundle = Buffer.from(pki.ca).toString('base64')
  return {
    url,
    port,
    caBundle,
    seen,
    connections: () => connections,
    configuration: (kind, name, more = {}) => ({
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: `${kind}WebhookConfiguration`,
      metadata: { name },
      webhooks: [
        {
          name: `${name}.example.com`,
          clientConfig: { url, caBundle },
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          rules: [
            { apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['CREATE', 'UPDATE'] },
          ],
          ...more,
        },
      ],
    }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** A response that changes the object. */
export function patchOf(...operations: Json[]): Json {
  const patch = Buffer.from(JSON.stringify(operations)).toString('base64')
  return { allowed: true, patch, patchType: 'JSONPatch' }
}

const group = '/apis/admissionregistration.k8s.io/v1'

/** Creates a configuration; throws when it is refused. */
export async function configure(api: TestServer, configuration: Json): Promise<void> {
  const plural = `${configuration.kind.toLowerCase()}s`.replace('ys', 'ies')
  const { status, body } = await api.call('POST', `${group}/${plural}`, configuration)
  if (status !== 201) throw new Error(JSON.stringify(body))
}
