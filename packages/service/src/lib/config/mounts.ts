import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Files that are mount points of their own: those of a ConfigMap mounted with `subPath`, which the kubelet never
 * updates. Nobody should wait for them to change. Empty where the system has no list of mounts.
 */
export async function findFrozenMounts(sources: {
  readonly files: readonly string[]
  readonly dirs: readonly string[]
}): Promise<string[]> {
  return findMountedFiles(await readFile('/proc/self/mountinfo', 'utf8').catch(() => ''), sources)
}

/** The mount points in `table` (`/proc/pid/mountinfo`, proc(5)) that are one of the files, or lie in one of the directories. */
export function findMountedFiles(
  table: string,
  { files, dirs }: { readonly files: readonly string[]; readonly dirs: readonly string[] },
): string[] {
  const points = table.split('\n').map((line) => (line.split(' ')[4] ?? '').replaceAll(/\\(\d{3})/g, unescapeOctal))
  return points.filter((point) => point !== '' && (files.includes(point) || dirs.includes(dirname(point))))
}

function unescapeOctal(_: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 8))
}
