import { relative, sep } from 'node:path'

/** `path` below `dir` with forward slashes, or `undefined` when it lies elsewhere. */
export function pathBelow(dir: string, path: string): string | undefined {
  const below = relative(dir, path)
  return below === '..' || below.startsWith(`..${sep}`) || below === path ? undefined : below.split(sep).join('/')
}
