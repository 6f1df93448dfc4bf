import { open } from 'node:fs/promises'
import type { Container } from '@fairlead/kube/types/core-v1'

import { readLog } from './log-reader.ts'

const MAX_BYTES = 4096
const FALLBACK_LINES = 80
const FALLBACK_BYTES = 2048

/** The last word of a container (core/v1 `terminationMessagePath`): its file, or the end of its log after a failure. */
export async function readTerminationMessage(
  container: Container,
  path: string,
  logPath: string,
  exitCode: number,
): Promise<string | undefined> {
  const text = await readHead(path)
  if (text !== '') return text
  if (exitCode === 0 || container.terminationMessagePolicy !== 'FallbackToLogsOnError') return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of readLog(logPath, { tailLines: FALLBACK_LINES })) chunks.push(chunk)
  const tail = Buffer.concat(chunks)
  return tail.subarray(Math.max(0, tail.byteLength - FALLBACK_BYTES)).toString('utf8') || undefined
}

async function readHead(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined)
  if (!file) return ''
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
