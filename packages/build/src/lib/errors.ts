/** Every code this package throws, made in one place so that the catalogue and the code cannot drift apart. */

interface Details {
  code: string
  hint?: string | undefined
  cause?: unknown
}

function coded(message: string, details: Details): Error {
  const { cause, code, hint } = details
  const error = cause === undefined ? new Error(message) : new Error(message, { cause })
  return Object.assign(error, hint === undefined ? { code } : { code, hint })
}

export function sourceInvalid(dir: string, state: string, hint: string, cause?: unknown): Error {
  return coded(`Cannot build "${dir}": ${state}`, { code: 'FAIRLEAD_BUILD_SOURCE', hint, cause })
}

export function lockfileMissing(dir: string, state: string, hint: string): Error {
  return coded(`Cannot build "${dir}": ${state}`, { code: 'FAIRLEAD_BUILD_LOCKFILE', hint })
}

export function entryMissing(dir: string, state: string): Error {
  return coded(`Cannot build "${dir}": ${state}`, {
    code: 'FAIRLEAD_BUILD_ENTRY',
    hint: 'Add "main" or a "start" script of the form "node FILE" to its package.json, or name the file src/main.ts',
  })
}

export function installFailed(dir: string, state: string, cause?: unknown): Error {
  return coded(`Cannot install the dependencies of "${dir}": ${state}`, {
    code: 'FAIRLEAD_BUILD_INSTALL',
    hint: `Install the dependencies in ${dir} with its package manager and mend what that reports`,
    cause,
  })
}

/** Packages that are locked do not lie there as a whole: somebody is installing, or was stopped while installing. */
export function packagesIncomplete(dir: string, state: string): Error {
  return coded(`Cannot read the dependencies of "${dir}": ${state}`, {
    code: 'FAIRLEAD_BUILD_INSTALL',
    hint: `Build again when no other installation runs in ${dir}; if that does not help, remove its node_modules first`,
  })
}

export function bundleFailed(dir: string, state: string, hint: string, cause?: unknown): Error {
  return coded(`Cannot bundle "${dir}": ${state}`, { code: 'FAIRLEAD_BUILD_BUNDLE', hint, cause })
}

/** The bundle imports on loading what is not in the image. */
export function bundleIncomplete(dir: string, state: string, cause: unknown): Error {
  const hint =
    'Check that package.json declares what the source imports; a package that finds files on its own may need to be imported by the source'
  return bundleFailed(dir, `the program does not load in the image: ${state}`, hint, cause)
}

export function smokeTestFailed(dir: string, cause: unknown): Error {
  return coded(`Cannot start the program of "${dir}" as the image has it: it ended with an error`, {
    code: 'FAIRLEAD_BUILD_SMOKE_TEST',
    hint: 'Name files it reads under "files" in package.json, and give it settings it can start with; or build without the smoke test',
    cause,
  })
}

export function nativeUnusable(packageName: string, state: string, hint: string, cause?: unknown): Error {
  return coded(`Cannot use native package "${packageName}": ${state}`, { code: 'FAIRLEAD_BUILD_NATIVE', hint, cause })
}

export function ejectRefused(path: string, state: string, hint: string, cause?: unknown): Error {
  return coded(`Cannot write "${path}": ${state}`, { code: 'FAIRLEAD_BUILD_EJECT', hint, cause })
}

export function executableRefused(file: string, state: string, cause?: unknown): Error {
  return coded(`Cannot make executable "${file}": ${state}`, {
    code: 'FAIRLEAD_BUILD_EXECUTABLE',
    hint: 'Name a file in a folder that can be written to, and build for Linux with glibc and without a Node.js of the base',
    cause,
  })
}

export function programUnusable(path: string, state: string, hint: string): Error {
  return coded(`Cannot use program "${path}": ${state}`, { code: 'FAIRLEAD_BUILD_PROGRAM', hint })
}

export function pythonUnusable(dir: string, state: string, hint: string, cause?: unknown): Error {
  return coded(`Cannot build Python application "${dir}": ${state}`, { code: 'FAIRLEAD_BUILD_PYTHON', hint, cause })
}

export function elfInvalid(state: string): Error {
  return coded(`Cannot read ELF file: ${state}`, { code: 'FAIRLEAD_BUILD_ELF' })
}

export function baseUnavailable(base: string, state: string, cause?: unknown, hint?: string): Error {
  return coded(`Cannot assemble base "${base}": ${state}`, {
    code: 'FAIRLEAD_BUILD_BASE',
    hint:
      hint ??
      'Make a container registry or the Debian archive of this machine (apt-get update) reachable, and build again',
    cause,
  })
}

export function nodeUnavailable(version: string, state: string, cause?: unknown): Error {
  return coded(`Cannot get Node.js "${version}" from the npm registry: ${state}`, {
    code: 'FAIRLEAD_BUILD_NODE',
    hint: 'Check that "npm ping" succeeds and that the version exists for the platform',
    cause,
  })
}

export function platformUnsupported(platform: string): Error {
  return coded(`Cannot build for platform "${platform}": expected linux/amd64 or linux/arm64`, {
    code: 'FAIRLEAD_BUILD_PLATFORM',
    hint: 'Choose linux/amd64 or linux/arm64',
  })
}

export function commandFailed(command: string, state: string, output: string, cause?: unknown): Error {
  const tail = output.trim().split('\n').slice(-8).join('\n')
  return coded(`Cannot run "${command}": ${state}${tail ? `\n${tail}` : ''}`, {
    code: isDiskFull(output) ? 'FAIRLEAD_BUILD_DISK_FULL' : 'FAIRLEAD_BUILD_COMMAND',
    hint: isDiskFull(output) ? DISK_FULL_HINT : undefined,
    cause,
  })
}

export function diskFull(path: string, cause: unknown): Error {
  return coded(`Cannot write "${path}": no space left on the disk`, {
    code: 'FAIRLEAD_BUILD_DISK_FULL',
    hint: DISK_FULL_HINT,
    cause,
  })
}

const DISK_FULL_HINT = 'Free some space on that disk, or set FAIRLEAD_CACHE to a directory on another one'

function isDiskFull(output: string): boolean {
  return /ENOSPC|No space left on device|enough free space in/i.test(output)
}
