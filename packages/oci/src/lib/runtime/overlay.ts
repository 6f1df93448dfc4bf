import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { runCommand } from './command.ts'
import type { RunCommand } from './command.ts'

/** Mounts `lower` (lowest first, relative to `layersDir`) under a writable layer of its own; returns the merged directory. */
export async function mountOverlay(
  dir: string,
  layersDir: string,
  lower: readonly string[],
  run: RunCommand = runCommand,
): Promise<string> {
  const [upper, work, merged] = [join(dir, 'upper'), join(dir, 'work'), join(dir, 'rootfs')]
  await Promise.all([upper, work, merged].map((path) => mkdir(path, { recursive: true, mode: 0o755 })))
  // A lone lower directory needs no company; overlay lists the uppermost first.
  const lowerDirs = lower.toReversed().map(escape).join(':')
  const options = `lowerdir=${lowerDirs},upperdir=${escape(upper)},workdir=${escape(work)}`
  // Relative names keep many layers within the one page the kernel takes.
  await run('mount', ['-i', '-t', 'overlay', 'overlay', '-o', options, merged], { cwd: layersDir })
  return merged
}

/** Mounts `lower` (lowest first, relative to `layersDir`) read-only at `target`, unless something is mounted there already. */
export async function mountLayers(target: string, layersDir: string, lower: readonly string[]): Promise<string> {
  if ((await mountPoints()).includes(target)) return target
  await mkdir(target, { recursive: true, mode: 0o755 })
  const [only = '', ...others] = lower
  if (others.length === 0) {
    // An overlay of one layer wants a second; a bind mount becomes read-only by mounting it again.
    await runCommand('mount', ['--bind', join(layersDir, only), target])
    await runCommand('mount', ['-o', 'remount,bind,ro,nosuid,nodev,noexec', target])
    return target
  }
  const options = `ro,nosuid,nodev,noexec,lowerdir=${lower.toReversed().map(escape).join(':')}`
  await runCommand('mount', ['-i', '-t', 'overlay', 'overlay', '-o', options, target], { cwd: layersDir })
  return target
}

/** Unmounts what {@link mountOverlay} has mounted, if it is mounted. The table of mounts, long with many pods, is read only in case of need. */
export async function unmountOverlay(merged: string, run: RunCommand = runCommand): Promise<void> {
  await run('umount', ['-i', merged]).catch(() => unmountAll(merged, run))
}

/** Unmounts whatever is mounted at or below `path`, also when it is in use. */
export async function unmountAll(path: string, run: RunCommand = runCommand): Promise<void> {
  const points = (await mountPoints()).filter((point) => point === path || point.startsWith(`${path}/`))
  // Innermost first; several mounts on one point are listed several times.
  for (const point of points.toReversed()) await run('umount', ['-i', '-l', point])
}

/** The mount points this process sees, in the order they were made. */
export async function mountPoints(): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8')
  return text
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point !== '')
    .map((point) =>
      point.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
}

/** Commas and colons separate options and directories. */
function escape(path: string): string {
  return path.replaceAll(/[\\,:]/g, (character) => `\\${character}`)
}
