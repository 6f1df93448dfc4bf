import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const PATIENCE_MS = 2000

/**
 * Lets a created container begin as `runc start` and `crun start` do, without the 12 ms of starting them: its first process
 * waits to write one byte into this pipe, and a runtime takes a container for created as long as the pipe is there.
 * Returns false where there is no such pipe, and changes nothing then.
 */
export async function releaseByFifo(path: string): Promise<boolean> {
  const pipe = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined)
  if (!pipe) return false
  try {
    const byte = Buffer.alloc(1)
    for (const begun = Date.now(); Date.now() - begun < PATIENCE_MS; await sleep(1)) {
      const bytesRead = await pipe.read(byte, 0, 1).then(
        (result) => result.bytesRead,
        // Nothing there yet, though the other side is open.
        (error: NodeJS.ErrnoException) => (error.code === 'EAGAIN' ? 0 : Promise.reject(error)),
      )
      if (bytesRead > 0) {
        await unlink(path)
        return true
      }
    }
    return false
  } finally {
    await pipe.close()
  }
}
