import { spawn } from 'node:child_process'

import { configInvalid } from '../errors.ts'

/** Runs `mount`, or another tool of its kind. Rejects with `FAIRLEAD_CLUSTER_POD_CONFIG` and what it says. */
export function mountTool(tool: string, args: readonly string[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const env = { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: 'C' }
  const child = spawn(tool, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 20_000, env })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text.slice(0, 2000)))
  child.on('error', reject)
  child.on('close', (code) => {
    if (code === 0) resolve()
    else reject(configInvalid(`mount of "${args.at(-1)}"`, complaint.trim()))
  })
  return promise
}
