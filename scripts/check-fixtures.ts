// Compares our codecs with the round-trip fixtures that the Kubernetes project publishes with its Go types:
//
//   node --conditions=@fairlead/source scripts/check-fixtures.ts FOLDER
//
// FOLDER holds a .json, .yaml and .pb of each kind (testdata/HEAD of the Go module k8s.io/api). Exits 1 when one of a kind
// that is in our table is read or written otherwise.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

import { decodeProtobuf, encodeProtobuf, parseYaml } from '../packages/kube/src/codec.ts'
import { findDefinition } from '../packages/kube/src/types.ts'

const [folder] = process.argv.slice(2)
if (folder === undefined) {
  console.error('usage: node --conditions=@fairlead/source scripts/check-fixtures.ts FOLDER')
  process.exit(2)
}
const names = readdirSync(folder).flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : []))
const counts = { fixtures: names.length, ours: 0, decoded: 0, encoded: 0, yaml: 0 }
for (const name of names) checkFixture(join(folder, name), name)
console.log(counts)
process.exitCode = counts.decoded + counts.encoded + counts.yaml === 3 * counts.ours ? 0 : 1

function checkFixture(path: string, name: string): void {
  const json = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as { apiVersion: string; kind: string }
  if (findDefinition(json.apiVersion, json.kind) === undefined) return
  counts.ours += 1
  const protobuf = readFileSync(`${path}.pb`)
  if (isSame(decodeProtobuf(protobuf), json)) counts.decoded += 1
  else console.log(`${name}: decoded otherwise`)
  if (encodeProtobuf(json).equals(protobuf)) counts.encoded += 1
  else console.log(`${name}: encoded otherwise`)
  if (isSame(parseYaml(readFileSync(`${path}.yaml`, 'utf8')), json)) counts.yaml += 1
  else console.log(`${name}: read from YAML otherwise`)
}

/** Null says nothing, and the order of keys neither. */
function isSame(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(withoutNulls(a), withoutNulls(b))
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([, child]) => child !== null)
  return Object.fromEntries(kept.map(([key, child]) => [key, withoutNulls(child)]))
}
