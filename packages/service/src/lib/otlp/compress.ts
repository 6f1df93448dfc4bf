import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

const run = promisify(gzip)

/** Level 1: telemetry repeats itself so much that more effort gains little. In the thread pool. */
export async function compress(bytes: Buffer): Promise<Buffer> {
  return await run(bytes, { level: 1 })
}
