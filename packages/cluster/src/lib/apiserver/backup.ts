import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Store } from '../storage/store.ts'
import type { ApiResponse } from './exchange.ts'

/** Only administrators may read it: it holds every secret. */
export const backupPath = '/fairlead/v1/backup'

/** The whole store at one revision; the digest at its end tells whether all of it arrived. */
export function serveBackup(store: Store): ApiResponse {
  const { chunks } = store.backup()
  return {
    status: 200,
    headers: { 'content-type': 'application/octet-stream' },
    body: {
      async stream(sink) {
        for (const chunk of chunks) {
          sink.write(chunk)
          await sink.drained()
          // Encoding a megabyte takes a moment; whoever else asks comes in between.
          await nextTurn()
        }
      },
    },
  }
}
