import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DocumentFault, parseJsonTree } from './json.ts'
import { toPlain } from './tree.ts'

describe('parseJsonTree', () => {
  it('takes what JSON.parse takes, to the same value, and refuses what it refuses', () => {
    const random = createRandom(7)
    let accepted = 0
    for (let round = 0; round < 4000; round++) {
      const text = mutate(JSON.stringify(value(random, 0), undefined, random() < 0.5 ? 2 : undefined), random)
      const expected = attempt(() => JSON.parse(text) as unknown)
      const found = attempt(() => parseJsonTree(text, String))
      if (expected === undefined) assert.equal(found, undefined, `accepted ${text}`)
      else if (found !== undefined) {
        accepted += 1
        assert.deepEqual(withoutNulls(toPlain(found.value)), withoutNulls(expected.value), text)
      } else assert.throws(() => parseJsonTree(text, String), { message: /is there twice/ }, `refused ${text}`)
    }
    assert.ok(accepted > 1000, `accepted ${accepted}`)
  })

  it('knows the line of each value', () => {
    const tree = parseJsonTree('{\n  "a": [\n    1,\n    {"b":\n 2}\n  ]\n}', String)
    assert.deepEqual(
      JSON.stringify(tree.kind === 'map' ? tree.entries.get('a') : undefined, (_, part: unknown) =>
        part instanceof Map ? Object.fromEntries(part) : part,
      ).match(/"origin":"\d+"/g),
      ['"origin":"3"', '"origin":"5"', '"origin":"4"', '"origin":"2"'],
    )
    assert.throws(
      () => parseJsonTree('{\n\n"a" 1}', String),
      (error) => error instanceof DocumentFault && error.line === 3,
    )
  })
})

function value(random: () => number, depth: number): unknown {
  const kind = Math.floor(random() * (depth > 3 ? 5 : 7))
  const count = Math.floor(random() * 4)
  if (kind === 0) return Math.floor(random() * 1e6) / 100
  if (kind === 1) return random() < 0.5
  if (kind === 2) return null
  if (kind === 3) return 'a"\\\u0001é\u{1F600}/\n'.slice(0, Math.floor(random() * 10))
  if (kind === 4) return -random() * 1e30
  if (kind === 5) return Array.from({ length: count }, () => value(random, depth + 1))
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, value(random, depth + 1)]))
}

/** Half of the texts with one character removed, doubled or replaced. */
function mutate(text: string, random: () => number): string {
  if (random() < 0.5) return text
  const at = Math.floor(random() * text.length)
  const characters = '{}[]",:0-+.eE\\ntfu \t\n\u0000x'
  const inserted = characters[Math.floor(random() * characters.length)] ?? ''
  return text.slice(0, at) + inserted + text.slice(at + Math.floor(random() * 2))
}

/** Nothing is left out of a tree's plain value, lists keep their places. */
function withoutNulls(part: unknown): unknown {
  if (Array.isArray(part)) return part.map((item: unknown) => withoutNulls(item ?? undefined))
  if (typeof part !== 'object' || part === null) return part ?? undefined
  return Object.fromEntries(
    Object.entries(part).flatMap(([name, inner]) =>
      inner === null || inner === undefined ? [] : [[name, withoutNulls(inner)]],
    ),
  )
}

function attempt<T>(work: () => T): { readonly value: T } | undefined {
  try {
    return { value: work() }
  } catch {
    return undefined
  }
}

/** The same numbers each time (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
