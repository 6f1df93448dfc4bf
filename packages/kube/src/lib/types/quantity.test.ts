import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { canonicalQuantity, parseQuantity } from '../../types.ts'

const cases: { text: string; canonical: string | undefined; number: number | undefined }[] = [
  { text: '1', canonical: '1', number: 1 },
  { text: '1000m', canonical: '1', number: 1 },
  { text: '0.5', canonical: '500m', number: 0.5 },
  { text: '.1', canonical: '100m', number: 0.1 },
  { text: '1500m', canonical: '1500m', number: 1.5 },
  { text: '128Mi', canonical: '128Mi', number: 134217728 },
  { text: '1024Mi', canonical: '1Gi', number: 1073741824 },
  { text: '1.5Gi', canonical: '1536Mi', number: 1610612736 },
  { text: '0.5Ki', canonical: '512', number: 512 },
  { text: '1000k', canonical: '1M', number: 1e6 },
  { text: '1e3', canonical: '1e3', number: 1000 },
  { text: '12E', canonical: '12E', number: 12e18 },
  { text: '-1.5', canonical: '-1500m', number: -1.5 },
  { text: '0', canonical: '0', number: 0 },
  { text: '0Mi', canonical: '0', number: 0 },
  { text: '1n', canonical: '1n', number: 1e-9 },
  { text: '0.1n', canonical: '1n', number: 1e-9 },
  { text: '1MB', canonical: undefined, number: undefined },
  { text: '', canonical: undefined, number: undefined },
  { text: '1 Gi', canonical: undefined, number: undefined },
]

describe('canonicalQuantity', () => {
  for (const { text, canonical } of cases) {
    it(`"${text}" is ${canonical}`, () => assert.equal(canonicalQuantity(text), canonical))
  }
})

describe('parseQuantity', () => {
  for (const { text, number } of cases) it(`"${text}" is ${number}`, () => assert.equal(parseQuantity(text), number))
})
