import { readSync, writeSync } from 'node:fs'

import { disk } from '../disk.ts'
import type { Disk } from '../disk.ts'

interface Unsynced {
  readonly fd: number
  readonly position: number
  readonly before: Buffer
}

const sectorBytes = 512

/**
 * A disk of a machine that loses power at the `steps`-th operation: of what was written and not synced, every sector is
 * there or not by chance. From then on every operation fails, as nothing runs any more.
 */
export class CrashingDisk implements Disk {
  isDown = false
  #steps: number
  #random: number
  #unsynced: Unsynced[] = []

  constructor(steps: number) {
    this.#steps = steps
    this.#random = steps * 7919 + 1
  }

  async create(path: string): Promise<number> {
    this.#step()
    return await disk.create(path)
  }

  async write(fd: number, bytes: Uint8Array, position: number): Promise<void> {
    this.writeSync(fd, bytes, position)
    await Promise.resolve()
  }

  writeSync(fd: number, bytes: Uint8Array, position: number): void {
    const before = Buffer.alloc(bytes.length)
    readSync(fd, before, 0, before.length, position)
    this.#unsynced.push({ fd, position, before })
    writeSync(fd, bytes, 0, bytes.length, position)
    this.#step()
  }

  async sync(fd: number): Promise<void> {
    this.#step()
    // Power may go while the disk works: until it is done, nothing counts as written.
    const covered = new Set(this.#unsynced.filter((write) => write.fd === fd))
    await disk.sync(fd)
    if (this.isDown) throw down()
    this.#unsynced = this.#unsynced.filter((write) => !covered.has(write))
  }

  syncNow(fd: number): void {
    this.#step()
    this.#unsynced = this.#unsynced.filter((write) => write.fd !== fd)
  }

  async rename(from: string, to: string): Promise<void> {
    this.#step()
    await disk.rename(from, to)
  }

  async remove(path: string): Promise<void> {
    if (this.isDown) throw down()
    await disk.remove(path)
  }

  async close(fd: number): Promise<void> {
    await disk.close(fd)
  }

  #step(): void {
    if (this.isDown) throw down()
    this.#steps -= 1
    if (this.#steps > 0) return
    this.isDown = true
    for (const write of this.#unsynced.toReversed()) this.#tear(write)
    throw down()
  }

  #tear({ fd, position, before }: Unsynced): void {
    for (let at = 0; at < before.length;) {
      const end = Math.min(before.length, at + sectorBytes - ((position + at) % sectorBytes))
      if (this.#chance()) writeSync(fd, before, at, end - at, position + at)
      at = end
    }
  }

  #chance(): boolean {
    this.#random = (this.#random * 1103515245 + 12345) % 2147483648
    return this.#random > 1073741824
  }
}

function down(): Error {
  return Object.assign(new Error('the machine is down'), { code: 'EIO' })
}
