import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { planNote } from './elf-note.ts'

const PAGE = 0x1_0000

/** A head of an ELF file with a program header for itself, one segment of code and one with memory that is not in the file. */
function head(distance: number): Buffer {
  const bytes = Buffer.alloc(64 + 3 * 56)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  bytes.writeBigUInt64LE(64n, 32)
  bytes.writeUInt16LE(56, 54)
  bytes.writeUInt16LE(3, 56)
  const rows = [
    [6, 64, 64, 168, 168],
    [1, 0, 0, 0x1000, 0x1000],
    [1, 0x1000, 0x3000, 0x800, 0x30_000],
  ] as const
  for (const [index, [type, offset, address, inFile, inMemory]] of rows.entries()) {
    const at = 64 + index * 56
    bytes.writeUInt32LE(type, at)
    bytes.writeBigUInt64LE(BigInt(offset), at + 8)
    bytes.writeBigUInt64LE(BigInt(address + distance), at + 16)
    bytes.writeBigUInt64LE(BigInt(inFile), at + 32)
    bytes.writeBigUInt64LE(BigInt(inMemory), at + 40)
  }
  return bytes
}

function rowsOf(segment: Buffer, count: number): { type: number; offset: number; address: number; bytes: number }[] {
  return Array.from({ length: count }, (_, index) => ({
    type: segment.readUInt32LE(index * 56),
    offset: Number(segment.readBigUInt64LE(index * 56 + 8)),
    address: Number(segment.readBigUInt64LE(index * 56 + 16)),
    bytes: Number(segment.readBigUInt64LE(index * 56 + 32)),
  }))
}

describe('planNote', () => {
  for (const [name, distance] of [
    ['a program at a fixed place', 0x40_0000],
    ['one that may lie anywhere', 0],
  ] as const) {
    it(`puts the segment of ${name} behind what its last segment takes in memory`, () => {
      const plan = planNote(head(distance), 0x1800, { name: 'NOTE', payloadBytes: 10 })
      assert.equal(plan.segmentAt % PAGE, 0)
      assert.ok(plan.segmentAt >= 0x33_000)
      const rows = rowsOf(plan.segment, 5)
      assert.deepEqual(
        rows.map(({ type }) => type),
        [6, 1, 1, 1, 4],
      )
      for (const { type, offset, address } of rows)
        if (offset >= plan.segmentAt) assert.equal(address, offset + distance, `type ${type}`)
      assert.equal(rows[0]?.offset, plan.segmentAt)
      const load = rows[3]
      assert.equal(load && load.offset + load.bytes, plan.sizeBytes)
    })
  }

  it('writes the head of the note right before the payload, both padded to four bytes', () => {
    const plan = planNote(head(0), 0x1800, { name: 'NODE_SEA_BLOB', payloadBytes: 10 })
    const note = plan.segment.subarray(5 * 56)
    assert.equal(note.readUInt32LE(0), 14)
    assert.equal(note.readUInt32LE(4), 10)
    assert.equal(note.toString('latin1', 12), 'NODE_SEA_BLOB\0\0\0')
    assert.equal(plan.payloadAt, plan.segmentAt + plan.segment.byteLength)
    assert.equal(plan.sizeBytes, plan.payloadAt + 12)
  })

  it('names the table where it is now', () => {
    const plan = planNote(head(0), 0x1800, { name: 'NOTE', payloadBytes: 1 })
    assert.equal(Number(plan.header.readBigUInt64LE(32)), plan.segmentAt)
    assert.equal(plan.header.readUInt16LE(56), 5)
  })

  const refused = [
    ['no ELF file', Buffer.from('#!/bin/sh\n'.padEnd(80))],
    ['one that ends within its program headers', head(0).subarray(0, 150)],
  ] as const
  for (const [name, bytes] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => planNote(bytes, bytes.byteLength, { name: 'NOTE', payloadBytes: 1 }), {
        code: 'FAIRLEAD_BUILD_ELF',
      })
    })
  }
})
