import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { gunzipSync, zstdCompressSync } from 'node:zlib'

import type { TarEntry } from './entry.ts'
import { compressGzip, decompressGzip, decompressZstd } from './gzip.ts'
import { readTar } from './tar-reader.ts'
import type { ReadTarOptions } from './tar-reader.ts'
import { createTar, sortEntries } from './tar-writer.ts'

const LONG = `${'long-directory/'.repeat(20)}naïve.txt`

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function read(archive: Buffer, options?: ReadTarOptions): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for await (const member of readTar(inPieces(archive, 700), options)) {
    found[member.path] =
      member.type === 'file' ? (await member.bytes()).toString() : `${member.type} ${member.linkPath}`
  }
  return found
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size)
}

function temporary(): { dir: string } & Disposable {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-archive-'))
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) }
}

describe('createTar', () => {
  const entries: TarEntry[] = [
    { path: LONG, type: 'file', content: Buffer.from('deep') },
    { path: 'a', type: 'file', mode: 0o755, uid: 65532, gid: 9_000_000, content: Buffer.from('x'.repeat(600)) },
    { path: 'link', type: 'symlink', linkPath: '../'.repeat(60) },
    { path: 'same', type: 'hardlink', linkPath: 'a' },
  ]

  it('is read back by our reader', async () => {
    const found = await read(await bytesOf(createTar(sortEntries(entries))))
    assert.equal(found[LONG], 'deep')
    assert.equal(found['a']?.length, 600)
    assert.equal(found['link'], `symlink ${'../'.repeat(60)}`)
    assert.equal(found['same'], 'hardlink a')
    assert.equal(found['long-directory'], 'directory ')
  })

  it('is read by GNU tar', async () => {
    const archive = await bytesOf(createTar(sortEntries(entries)))
    const listing = execFileSync('tar', ['--numeric-owner', '--quoting-style=literal', '-tvf', '-'], {
      input: archive,
      encoding: 'utf8',
    })
    assert.match(listing, /-rwxr-xr-x 65532\/9000000\s+600 1970-01-01 00:00 a\n/)
    assert.match(listing, /same link to a/)
    assert.match(listing, /naïve\.txt/)
  })

  it('gives the same bytes for the same entries', async () => {
    const [one, two] = await Promise.all(
      [entries, [...entries].toReversed()].map((list) => bytesOf(createTar(sortEntries(list)))),
    )
    assert.ok(one && two && one.equals(two))
  })

  it('refuses a path that occurs twice', () => {
    assert.throws(() => sortEntries([...entries, { path: 'a', type: 'directory' }]), { code: 'FAIRLEAD_OCI_ARCHIVE' })
  })

  it('fails when a file changes its size while it is read', async () => {
    const grown: TarEntry = {
      path: 'f',
      type: 'file',
      content: { sizeBytes: 3, open: () => inPieces(Buffer.from('four'), 1) },
    }
    await assert.rejects(bytesOf(createTar([grown])), { code: 'FAIRLEAD_OCI_ARCHIVE', message: /changed its size/ })
  })
})

describe('readTar', () => {
  for (const format of ['gnu', 'pax', 'ustar', 'oldgnu']) {
    it(`reads what GNU tar writes as ${format}`, async () => {
      using folder = temporary()
      const name = format === 'ustar' ? 'plain.txt' : `${'n'.repeat(150)}.txt`
      mkdirSync(join(folder.dir, 'sub'))
      writeFileSync(join(folder.dir, 'sub', name), 'content')
      symlinkSync('sub', join(folder.dir, 'link'))
      const archive = execFileSync('tar', [`--format=${format}`, '-C', folder.dir, '-cf', '-', '.'])
      const found = await read(archive)
      assert.deepEqual(found, { '': 'directory ', sub: 'directory ', [`sub/${name}`]: 'content', link: 'symlink sub' })
    })
  }

  const unsafe = [
    { name: 'a path with ..', path: '../outside' },
    { name: 'a path that climbs out on the way', path: 'a/../../outside' },
  ]
  for (const { name, path } of unsafe) {
    it(`refuses ${name}`, async () => {
      const archive = await bytesOf(createTar([{ path, type: 'file', content: Buffer.from('x') }]))
      await assert.rejects(read(archive), { code: 'FAIRLEAD_OCI_ARCHIVE_UNSAFE' })
    })
  }

  it('refuses a hard link to a place outside', async () => {
    const archive = await bytesOf(createTar([{ path: 'a', type: 'hardlink', linkPath: '../../etc/passwd' }]))
    await assert.rejects(read(archive), { code: 'FAIRLEAD_OCI_ARCHIVE_UNSAFE' })
  })

  it('takes an absolute path for one below the root of the archive', async () => {
    const archive = await bytesOf(createTar([{ path: '/etc/motd', type: 'file', content: Buffer.from('x') }]))
    assert.deepEqual(await read(archive), { 'etc/motd': 'x' })
  })

  it('notices damage and early ends', async () => {
    const archive = await bytesOf(createTar([{ path: 'a', type: 'file', content: Buffer.from('x'.repeat(2000)) }]))
    await assert.rejects(read(archive.subarray(0, 1500)), {
      code: 'FAIRLEAD_OCI_ARCHIVE',
      message: /middle of an entry/,
    })
    archive[0] = 0x62
    await assert.rejects(read(archive), { code: 'FAIRLEAD_OCI_ARCHIVE', message: /checksum/ })
  })

  it('reads what "umoci insert" writes, without the padding of its last entry', async () => {
    const archive = await bytesOf(createTar([{ path: 'a', type: 'file', content: Buffer.from('x'.repeat(600)) }]))
    assert.deepEqual(await read(archive.subarray(0, 512 + 600)), { a: 'x'.repeat(600) })
    await assert.rejects(read(archive.subarray(0, 512 + 599)), { message: /middle of an entry/ })
  })

  it('keeps to its bounds', async () => {
    const content = Buffer.from('x'.repeat(2000))
    const archive = await bytesOf(createTar(['a', 'b'].map((path) => ({ path, type: 'file' as const, content }))))
    for (const bound of [{ maxMembers: 1 }, { maxTotalBytes: 3000 }, { maxMemberBytes: 1000 }]) {
      await assert.rejects(read(archive, bound), { code: 'FAIRLEAD_OCI_ARCHIVE' })
    }
  })

  it('skips content nobody reads', async () => {
    const content = Buffer.from('x'.repeat(2000))
    const archive = await bytesOf(createTar(['a', 'b'].map((path) => ({ path, type: 'file' as const, content }))))
    const paths: string[] = []
    for await (const member of readTar(inPieces(archive, 33))) paths.push(member.path)
    assert.deepEqual(paths, ['a', 'b'])
  })
})

describe('compressGzip', () => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => `line ${index % 977}\n`).join(''))

  it('is one gzip member that others read', async () => {
    const packed = await bytesOf(compressGzip(inPieces(content, 100_000)))
    assert.ok(gunzipSync(packed).equals(content))
    assert.ok(execFileSync('gzip', ['-dc'], { input: packed, maxBuffer: 1 << 26 }).equals(content))
  })

  it('does not depend on how the input is cut', async () => {
    const large = Buffer.concat([content, content, content])
    const [one, two, three] = await Promise.all(
      [1000, 4 << 20, large.byteLength].map((size) => bytesOf(compressGzip(inPieces(large, size), { level: 6 }))),
    )
    assert.ok(one && two && three && one.equals(two) && two.equals(three))
  })

  it('writes nothing of the machine into its header', async () => {
    const packed = await bytesOf(compressGzip([Buffer.from('x')]))
    assert.equal(packed.subarray(0, 10).toString('hex'), '1f8b08000000000000ff')
  })

  it('handles empty input and whole blocks', async () => {
    for (const size of [0, 4 << 20, 8 << 20]) {
      assert.equal(gunzipSync(await bytesOf(compressGzip(inPieces(Buffer.alloc(size, 1), 1 << 20)))).byteLength, size)
    }
  })
})

describe('decompressGzip', () => {
  it('reads what compressGzip writes', async () => {
    const content = Buffer.from('hello')
    assert.deepEqual(await bytesOf(decompressGzip(compressGzip([content]))), content)
  })

  it('passes failures on', async () => {
    await assert.rejects(bytesOf(decompressGzip(inPieces(Buffer.from('no gzip at all'), 4))))
    await assert.rejects(bytesOf(decompressGzip(failing())), /source failed/)
  })
})

describe('decompressZstd', () => {
  it('reads zstd', async () => {
    const content = Buffer.from('hello')
    assert.deepEqual(await bytesOf(decompressZstd(inPieces(zstdCompressSync(content), 3))), content)
  })
})

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.from([0x1f, 0x8b])
  throw new Error('source failed')
}
