import {
  close,
  fdatasync,
  fdatasyncSync,
  open,
  openSync,
  closeSync,
  fsyncSync,
  rename,
  unlink,
  write,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'

/** The file operations a log stands on; a test passes one that fails on purpose. */
export interface Disk {
  create(path: string): Promise<number>
  write(fd: number, bytes: Uint8Array, position: number): Promise<void>
  writeSync(fd: number, bytes: Uint8Array, position: number): void
  /** Returns when the written bytes would survive a power cut. */
  sync(fd: number): Promise<void>
  syncNow(fd: number): void
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  close(fd: number): Promise<void>
}

/** The real one. */
export const disk: Disk = {
  create: (path) => openFile(path, 'w+', 0o600),
  async write(fd, bytes, position) {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await writeFile(fd, bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
  },
  writeSync(fd, bytes, position) {
    for (let done = 0; done < bytes.length;) {
      done += writeSync(fd, bytes, done, bytes.length - done, position + done)
    }
  },
  sync: promisify(fdatasync),
  syncNow: fdatasyncSync,
  rename: promisify(rename),
  remove: promisify(unlink),
  close: promisify(close),
}

const openFile = promisify(open)
const writeFile = promisify(write)

/** Makes the names inside `dir` durable: a file that was created, renamed or removed stays so after a power cut. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
