import { readFile } from 'node:fs/promises'

import type { Host } from './plan.ts'

/** This machine, told as npm tells it (npm-install-checks). */
export async function detectHost(): Promise<Host> {
  const { platform: os, arch: cpu, version: node } = process
  if (os !== 'linux') return { os, cpu, node, libc: undefined }
  const glibc = runningGlibc()
  const ldd = await readFile('/usr/bin/ldd', 'utf8').catch(() => undefined)
  const named = ldd?.includes('musl') ? 'musl' : ldd?.includes('GNU C Library') ? 'glibc' : undefined
  return { os, cpu, node, glibc, libc: ldd === undefined && glibc !== undefined ? 'glibc' : named }
}

/** The report of a process is where Node.js tells the version; without names of hosts, which it would look up. */
function runningGlibc(): string | undefined {
  const report = process.report as typeof process.report & { excludeNetwork: boolean }
  const before = report.excludeNetwork
  report.excludeNetwork = true
  try {
    return (report.getReport() as { header?: { glibcVersionRuntime?: string } }).header?.glibcVersionRuntime
  } finally {
    report.excludeNetwork = before
  }
}
