import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { findDuplicateKeys, parseJson, parseManifests, parseYaml } from '../../codec.ts'
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch, createMergePatch } from '../../patch.ts'
import { applyConfiguration, mergeTypeOf, ownUpdate } from '../../patch.ts'
import { decodeProtobuf, encodeProtobuf } from '../../codec.ts'
import { equalJson } from './json-value.ts'
import { parseFieldSet } from './apply/field-set.ts'
import type { MergeContext, Owned } from '../../patch.ts'
import type { KubeObject } from '../../types.ts'

const rounds = 1500
const limitMs = 2000

/** Numbers that are the same in every run: a failure can be had again by its seed. */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const keys = [
  'metadata',
  'spec',
  'containers',
  'name',
  'image',
  'env',
  'ports',
  'containerPort',
  'labels',
  'finalizers',
  'a',
  '__proto__',
  '',
]
const directives = [
  '$patch',
  '$retainKeys',
  '$setElementOrder/containers',
  '$deleteFromPrimitiveList/finalizers',
  '$setElementOrder',
  '$setElementOrder/bogus',
]
const texts = ['replace', 'delete', 'merge', 'a', 'b', '', '\u2028<&>', '__proto__', '\ud800']

/** Values that look like objects of the API often enough to get somewhere. */
class Maker {
  readonly random: (below: number) => number

  constructor(seed: number) {
    this.random = createRandom(seed)
  }

  one<T>(list: readonly T[]): T {
    // The proof of the cast: no list is empty.
    return list[this.random(list.length)] as T
  }

  value(depth: number, more: readonly string[] = []): unknown {
    switch (this.random(depth > 5 ? 5 : 9)) {
      case 0:
        return null
      case 1:
        return this.random(5) - 2
      case 2:
        return this.random(2) === 0
      case 3:
      case 4:
        return this.one(texts)
      case 5:
      case 6:
        return Array.from({ length: this.random(4) }, () => this.value(depth + 1, more))
      default:
        return this.object(depth + 1, more)
    }
  }

  object(depth: number, more: readonly string[] = []): Record<string, unknown> {
    const out: Record<string, unknown> = {}
    for (let count = this.random(5); count > 0; count -= 1) {
      const value = this.value(depth, more)
      Object.defineProperty(out, this.one([...keys, ...more]), {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      })
    }
    return out
  }
}

/** Runs `body` for many seeds; only errors of ours may come out of it, and soon. */
function fuzz(body: (maker: Maker) => void): void {
  const start = process.threadCpuUsage()
  for (let seed = 1; seed <= rounds; seed += 1) {
    try {
      body(new Maker(seed))
    } catch (error) {
      const isOurs = error instanceof Error && 'code' in error && String(error.code).startsWith('FAIRLEAD_')
      if (!isOurs) throw new Error(`Seed ${seed} fails`, { cause: error })
    }
  }
  const { user, system } = process.threadCpuUsage(start)
  assert.ok((user + system) / 1000 < rounds * 20, 'took too long')
}

/** By the time this thread worked: the machine may have other work. What is quadratic takes many times as long. */
function timed(body: () => void): void {
  const start = process.threadCpuUsage()
  body()
  const { user, system } = process.threadCpuUsage(start)
  const took = (user + system) / 1000
  assert.ok(took < limitMs, `took ${took.toFixed(0)} ms`)
}

const type = mergeTypeOf('io.k8s.api.core.v1.Pod')
const context: MergeContext = { typeOf: () => type, convert: (object) => object }
const info = { writer: { manager: 'm', apiVersion: 'v1', subresource: '' }, time: '2026-01-01T00:00:00Z' }

function podOf(maker: Maker): Owned {
  return {
    ...maker.object(0),
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...maker.object(3), uid: 'u', managedFields: undefined },
  }
}

describe('patches of anything', () => {
  it('leave the document alone and the prototypes of objects clean', () => {
    fuzz((maker) => {
      const document = maker.object(0)
      const before = JSON.stringify(document)
      const patch = maker.value(0, directives)
      try {
        applyStrategicMergePatch(document, patch, 'io.k8s.api.core.v1.Pod')
      } finally {
        assert.equal(JSON.stringify(document), before)
        assert.equal(Object.hasOwn(Object.prototype, 'a'), false)
      }
    })
    fuzz((maker) => void applyMergePatch(maker.value(0), maker.value(0)))
    const operations = ['add', 'remove', 'replace', 'move', 'copy', 'test', 'zap']
    fuzz((maker) => {
      const pointer = (): string =>
        Array.from({ length: maker.random(4) }, () => `/${maker.one([...keys, '0', '-', '~0', '01'])}`).join('')
      const operation = (): unknown => ({
        op: maker.one(operations),
        path: pointer(),
        from: pointer(),
        value: maker.value(3),
      })
      applyJsonPatch(maker.object(0), Array.from({ length: maker.random(6) }, operation))
    })
  })

  it('a made merge patch leads where it should', () => {
    fuzz((maker) => {
      const withoutNulls = (value: unknown): unknown =>
        JSON.parse(JSON.stringify(value), (_, each: unknown) => each ?? undefined)
      const [from, to] = [withoutNulls(maker.object(0)), withoutNulls(maker.object(0))]
      const text = JSON.stringify([from, to])
      // A hole in a list cannot be said in JSON.
      if (text.includes('null') || text.includes('__proto__')) return
      assert.ok(equalJson(applyMergePatch(from, createMergePatch(from, to)), to))
    })
  })
})

describe('ownership of anything', () => {
  it('is computed for every object, and nobody owns what is not there', () => {
    fuzz((maker) => {
      const live = podOf(maker)
      const entries = JSON.parse(JSON.stringify(ownUpdate(context, info, undefined, live) ?? [])) as never
      const stored = { ...live, metadata: { ...live.metadata, managedFields: entries } }
      ownUpdate(context, { ...info, writer: { ...info.writer, manager: 'n' } }, stored, podOf(maker))
    })
  })

  it('of a configuration applied twice is the same', () => {
    fuzz((maker) => {
      const config = { ...maker.object(0), apiVersion: 'v1', kind: 'Pod' }
      const configuration = { config, kind: 'Pod', subject: 'x', isForced: true }
      const first = applyConfiguration(context, info, undefined, configuration)
      first.metadata.uid = 'u'
      const second = applyConfiguration(context, info, first, configuration)
      assert.deepEqual(second.metadata.managedFields, first.metadata.managedFields)
    })
  })

  it('reads field sets of clients, or says what is wrong', () => {
    const elements = [
      'f:a',
      'f:',
      '.',
      'k:{"a":1}',
      'k:{ "b":2,"a":1}',
      'k:[',
      'v:"x"',
      'v:',
      'i:1',
      'i:x',
      'z:a',
      'q',
      '',
    ]
    const make = (maker: Maker, depth: number): unknown =>
      depth > 4 || maker.random(5) === 0
        ? maker.one([{}, null, 1, []])
        : Object.fromEntries(
            Array.from({ length: maker.random(4) }, () => [maker.one(elements), make(maker, depth + 1)]),
          )
    fuzz((maker) => {
      const sent = make(maker, 0)
      try {
        const set = parseFieldSet(sent)
        assert.deepEqual(parseFieldSet(set), set)
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error
      }
    })
  })
})

describe('sizes that hurt', () => {
  const many = Array.from({ length: 20_000 }, (_, index) => ({ name: `n${index}`, value: 'v' }))
  const pod = (env: unknown): Owned => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {},
    spec: { containers: [{ name: 'a', env }] },
  })

  it('a strategic merge of long lists, in order and with deletions', () => {
    const order = many.toReversed().map(({ name }) => ({ name }))
    const element = { name: 'a', env: many.toReversed(), '$setElementOrder/env': order }
    timed(() => void applyStrategicMergePatch(pod(many), { spec: { containers: [element] } }, 'io.k8s.api.core.v1.Pod'))
    const finalizers = many.map(({ name }) => name)
    const patch = { metadata: { finalizers, '$deleteFromPrimitiveList/finalizers': finalizers } }
    timed(() => void applyStrategicMergePatch({ metadata: { finalizers } }, patch, 'io.k8s.api.core.v1.Pod'))
  })

  it('ownership of long lists, with elements that share a name', () => {
    const same = many.map(() => ({ name: 'x', value: 'v' }))
    timed(() => void ownUpdate(context, info, undefined, pod(same)))
    const live = pod(many)
    timed(() => {
      live.metadata.managedFields = JSON.parse(JSON.stringify(ownUpdate(context, info, undefined, live))) as never
    })
    timed(
      () =>
        void ownUpdate(context, { ...info, writer: { ...info.writer, manager: 'n' } }, live, pod(many.toReversed())),
    )
    const config = pod(many.map((each) => ({ ...each, value: 'w' })))
    const configuration = { config, kind: 'Pod', subject: 'x', isForced: true }
    timed(() => void applyConfiguration(context, info, live, configuration))
  })
})

describe('decoders of anything', () => {
  const seedTexts = ['{"a":[1,2,{"b":null}],"a":"x"}', 'a: &x [1]\nb: *x\n---\nkind: List\n', '- {a: 0644, b: 22:22}\n']

  it('read or refuse texts', () => {
    fuzz((maker) => {
      const chars = maker.one(seedTexts).split('')
      for (let count = maker.random(4); count > 0; count -= 1) {
        chars.splice(
          maker.random(chars.length),
          maker.random(2),
          maker.one(['{', ']', '"', ':', '\n', '&', '*', '\\', '\0', ',']),
        )
      }
      const text = chars.join('')
      for (const read of [parseJson, parseYaml, parseManifests]) {
        try {
          read(text)
        } catch (error) {
          if (!(error instanceof SyntaxError)) throw error
        }
      }
    })
  })

  it('find keys given twice in deep and long texts without delay', () => {
    timed(() => void findDuplicateKeys(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`))
    timed(
      () => void findDuplicateKeys(`{${Array.from({ length: 50_000 }, (_, index) => `"k${index}":"\\\\\\""`).join()}}`),
    )
  })

  it('read or refuse protobuf that was cut and bent', () => {
    const object = pod() as KubeObject
    const bytes = Buffer.from(encodeProtobuf(object) ?? [])
    assert.ok(bytes.length > 50)
    fuzz((maker) => {
      const bent = Buffer.from(bytes.subarray(0, maker.random(3) === 0 ? maker.random(bytes.length) : bytes.length))
      for (let count = maker.random(5); count > 0 && bent.length > 0; count -= 1)
        bent[maker.random(bent.length)] = maker.random(256)
      decodeProtobuf(bent)
    })
  })

  function pod(): unknown {
    const metadata = { name: 'web', labels: { a: 'b' }, finalizers: ['x/y'] }
    const container = { name: 'c', image: 'i', ports: [{ containerPort: 80 }], resources: { limits: { cpu: '1' } } }
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata,
      spec: { containers: [container], volumes: [{ name: 'v', emptyDir: {} }] },
    }
  }
})
