import assert from 'node:assert/strict'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import { addImage, startScriptedRegistry } from './client.fixture.ts'
import type { Intercept, ScriptedRegistry } from './client.fixture.ts'
import { createRegistryClient } from './client.ts'
import { copyImage } from './copy.ts'
import { pullTree } from './pull.ts'
import { pushImage } from './push.ts'
import { checkStore } from './server/check.ts'
import { openRegistryStore } from './server/store.ts'

const layer = Buffer.alloc(300_000, 'layer')

/** What a registry does to a request for the layer; each answers by itself. */
const faults: Record<string, (...request: Parameters<Intercept>) => void> = {
  'ends the connection halfway': (request, response) => {
    if (request.method !== 'GET') return void response.destroy()
    response.writeHead(200, { 'content-length': layer.byteLength })
    response.write(layer.subarray(0, 1000), () => response.destroy())
  },
  'lies about its content': (request, response) => {
    const wrong = { 'docker-content-digest': digestOf('something else') }
    if (request.method === 'GET') response.end(Buffer.alloc(layer.byteLength, 'x'))
    else response.writeHead(request.method === 'HEAD' ? 404 : 400, wrong).end()
  },
  'is busy (429)': (_request, response) => void response.writeHead(429, { 'retry-after': '0' }).end(),
  'fails (500)': (_request, response) => void response.writeHead(500).end(),
  'never answers': () => {},
}

/** Codes of errors that may tell of it, when it does not pass. */
const CODES = /^FAIRLEAD_OCI_(REGISTRY_UNREACHABLE|REGISTRY_ANSWER|REGISTRY_REFUSED|DIGEST_MISMATCH)$/

const OF_LAYER = new RegExp(digestOf(layer))

const acts = {
  pull: { harms: 'source', path: OF_LAYER },
  push: { harms: 'target', path: /\/blobs\/uploads\// },
  'copy, from': { harms: 'source', path: OF_LAYER },
  'copy, to': { harms: 'target', path: /\/blobs\/uploads\// },
} as const

for (const [act, { harms, path }] of Object.entries(acts)) {
  describe(`${act} a registry that`, () => {
    for (const [fault, harm] of Object.entries(faults)) {
      // A refusal of what was sent is final: the same bytes would be refused again.
      const isFinal = fault === 'lies about its content' && harms === 'target'
      if (!isFinal) {
        it(`${fault}, and then does not: is done`, async () => {
          await using rig = await createRig(fault)
          const registry = rig[harms]
          registry.intercept = once(path, harm)
          await rig.run(act)
          assert.equal(await rig.problems(), 0)
          if (act !== 'pull') assert.ok(rig.target.blobs.get(`app ${digestOf(layer)}`)?.equals(layer))
        })
      }

      it(`${fault}, again and again: is told, and leaves nothing behind`, async () => {
        await using rig = await createRig(fault)
        rig[harms].intercept = always(path, harm)
        await assert.rejects(rig.run(act), (error: NodeJS.ErrnoException) => {
          assert.match(error.code ?? '', CODES)
          assert.match(error.message, new RegExp(rig[harms].host))
          return true
        })
        assert.equal(await rig.problems(), 0)
        assert.equal(rig.target.manifests.size, 0)
        rig[harms].intercept = () => false
        await rig.run(act)
        assert.equal(await rig.problems(), 0)
      })
    }
  })
}

function always(path: RegExp, harm: (...request: Parameters<Intercept>) => void): Intercept {
  return (request, response, asked) => {
    if (!path.test(asked)) return false
    request.resume()
    harm(request, response, asked)
    return true
  }
}

function once(path: RegExp, harm: (...request: Parameters<Intercept>) => void): Intercept {
  let left = 1
  const act = always(path, harm)
  return (...request) => left > 0 && act(...request) === true && (left -= 1) >= 0
}

/** An image in a layout and in a source registry, an empty registry and an empty store. */
async function createRig(fault: string): Promise<
  AsyncDisposable & {
    source: ScriptedRegistry
    target: ScriptedRegistry
    run(act: string): Promise<unknown>
    problems(): Promise<number>
  }
> {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-faults-'))
  const [source, target] = await Promise.all([startScriptedRegistry(), startScriptedRegistry()])
  const own = await openLayout(join(folder.path, 'own'))
  const store = join(folder.path, 'store')
  await addImage(own, 'localhost/app:1', [layer])
  await pushImage('localhost/app:1', `${source.host}/app:1`, { layout: own, client: createRegistryClient() })
  return {
    source,
    target,
    async run(act) {
      // Long enough for the registry that answers, on a busy machine too.
      const timeoutMs = fault === 'never answers' ? 500 : 30_000
      const client = createRegistryClient({ retries: 1, retryDelayMs: 1, timeoutMs })
      const [from, to] = [`${source.host}/app:1`, `${target.host}/app:1`]
      if (act === 'pull') return pullTree(from, { layout: await openLayout(store), client })
      if (act === 'push') return pushImage('localhost/app:1', to, { layout: own, client })
      return copyImage(from, to, { client })
    },
    problems: async () => (await checkStore(await openRegistryStore(store))).problems.length,
    async [Symbol.asyncDispose]() {
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()])
      folder.remove()
    },
  }
}
