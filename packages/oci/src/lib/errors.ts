/** Every code this package throws, made in one place so that the catalogue and the code cannot drift apart. */

interface Details {
  code: string
  hint?: string | undefined
  cause?: unknown
}

function coded<E extends Error>(error: E, details: Details): E & { code: string; hint?: string } {
  const { cause, ...rest } = details
  if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
  return Object.assign(error, rest.hint === undefined ? { code: rest.code } : { code: rest.code, hint: rest.hint })
}

export function referenceSyntax(text: string, state: string, hint?: string): SyntaxError {
  return coded(new SyntaxError(`Cannot parse image reference ${JSON.stringify(text)}: ${state}`), {
    code: 'FAIRLEAD_OCI_REFERENCE',
    hint: hint ?? 'Write a reference such as registry.example/team/app:1.2 or localhost/app:latest',
  })
}

export function digestSyntax(text: string, state: string): SyntaxError {
  return coded(new SyntaxError(`Cannot parse digest ${JSON.stringify(text)}: ${state}`), {
    code: 'FAIRLEAD_OCI_DIGEST',
  })
}

export function digestMismatch(expected: string, actual: string): Error {
  return coded(new Error(`Cannot accept blob "${expected}": its content has digest "${actual}"`), {
    code: 'FAIRLEAD_OCI_DIGEST_MISMATCH',
    hint: 'Fetch the content again; if it happens twice, the source is damaged or was changed on the way',
  })
}

/** The same, of what came from a registry. */
export function blobDamaged(reference: string, cause: unknown): Error {
  const said = cause instanceof Error ? cause.message : String(cause)
  return coded(new Error(`Cannot pull "${reference}": ${said}`), {
    code: 'FAIRLEAD_OCI_DIGEST_MISMATCH',
    hint: 'Try again; if it happens again, the registry is damaged or something on the way changes what it sends',
    cause,
  })
}

export function platformSyntax(text: string): SyntaxError {
  return coded(new SyntaxError(`Cannot parse platform ${JSON.stringify(text)}: not of the form os/architecture`), {
    code: 'FAIRLEAD_OCI_PLATFORM',
    hint: 'Write linux/amd64 or linux/arm64',
  })
}

export function layoutInvalid(dir: string, state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot open image layout "${dir}": ${state}`), {
    code: 'FAIRLEAD_OCI_LAYOUT',
    hint: 'Name an empty directory or one that holds an OCI image layout of version 1.0',
    cause,
  })
}

export function layoutLocked(dir: string, owner: string): Error {
  return coded(new Error(`Cannot change image layout "${dir}": it is locked by ${owner}`), {
    code: 'FAIRLEAD_OCI_LAYOUT_LOCKED',
    hint: 'Wait for the other process to finish and try again',
  })
}

export function blobMissing(dir: string, digest: string, cause?: unknown): Error {
  return coded(new Error(`Cannot read blob "${digest}": it is not in the image layout "${dir}"`), {
    code: 'FAIRLEAD_OCI_BLOB_MISSING',
    hint: 'Build or pull the image again',
    cause,
  })
}

export function diskFull(path: string, cause: unknown): Error {
  return coded(new Error(`Cannot write "${path}": no space left on the disk`), {
    code: 'FAIRLEAD_OCI_DISK_FULL',
    hint: 'Free some space on that disk, or set FAIRLEAD_HOME and FAIRLEAD_CACHE to directories on another one',
    cause,
  })
}

export function archiveInvalid(state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot read tar archive: ${state}`), { code: 'FAIRLEAD_OCI_ARCHIVE', cause })
}

export function archiveUnsafe(path: string, state: string): Error {
  return coded(new Error(`Cannot accept tar entry ${JSON.stringify(path)}: ${state}`), {
    code: 'FAIRLEAD_OCI_ARCHIVE_UNSAFE',
    hint: 'Do not use this archive: it was damaged or made to write outside of its own directory',
  })
}

export function registryUnreachable(url: string, state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot reach registry "${url}": ${state}`), {
    code: 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE',
    hint: 'Check the network and the name of the registry',
    cause,
  })
}

/** What is done with a registry, as messages name it. */
export type RegistryAct =
  | 'pull'
  | 'push'
  | 'delete'
  | 'list tags of'
  | 'list repositories of'
  | 'list referrers of'
  | 'log in to'

export function registryDenied(reference: string, state: string, act: RegistryAct = 'pull'): Error {
  return coded(new Error(`Cannot ${act} "${reference}": ${state}`), {
    code: 'FAIRLEAD_OCI_REGISTRY_DENIED',
    hint:
      act === 'pull'
        ? 'Log in to the registry with fairlead login, or check that the image is public and its name is right'
        : 'Log in with fairlead login as somebody who may do this, and check that the repository exists',
  })
}

export function registryNotFound(reference: string, act: RegistryAct = 'pull'): Error {
  return coded(new Error(`Cannot ${act} "${reference}": the registry does not have it`), {
    code: 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND',
    hint: 'Check the repository and the tag',
  })
}

/** `says` is the error of the registry, in its own words. */
export function registryRefused(reference: string, act: RegistryAct, status: number, says: string): Error {
  const state = says === '' ? `the registry answered ${status}` : `the registry answered ${status}, ${says}`
  return coded(new Error(`Cannot ${act} "${reference}": ${state}`), {
    code: 'FAIRLEAD_OCI_REGISTRY_REFUSED',
    hint: 'Read what the registry says; a tag may be immutable, a quota used up, or the feature switched off there',
  })
}

/** `what` is a file, a program or a service that credentials come from. */
export function credentialsUnusable(what: string, state: string, hint: string, cause?: unknown): Error {
  return coded(new Error(`Cannot use credentials of "${what}": ${state}`), {
    code: 'FAIRLEAD_OCI_CREDENTIALS',
    hint,
    cause,
  })
}

/** `faults`: everything that is wrong with the file, not the first thing only. */
export function registriesInvalid(file: string, faults: readonly string[], cause?: unknown): SyntaxError {
  return coded(new SyntaxError(`Cannot use registries of "${file}": ${faults.join('; ')}`), {
    code: 'FAIRLEAD_OCI_REGISTRIES',
    hint: 'Correct the file, or move it away to do without mirrors',
    cause,
  })
}

export function registryBlocked(reference: string, file: string): Error {
  return coded(new Error(`Cannot pull "${reference}": "${file}" blocks its registry`), {
    code: 'FAIRLEAD_OCI_REGISTRY_BLOCKED',
    hint: 'Use an image of another registry, or unblock this one in that file',
  })
}

export function registryAnswer(url: string, state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot use the answer of registry "${url}": ${state}`), {
    code: 'FAIRLEAD_OCI_REGISTRY_ANSWER',
    cause,
  })
}

export function platformMissing(reference: string, platform: string, available: readonly string[]): Error {
  return coded(
    new Error(
      `Cannot use image "${reference}" for ${platform}: it exists for ${available.join(', ') || 'no platform'}`,
    ),
    { code: 'FAIRLEAD_OCI_PLATFORM_MISSING', hint: 'Choose one of its platforms, or another image' },
  )
}

export function layerUnsupported(what: string): Error {
  return coded(new Error(`Cannot unpack layer "${what}": its form is not known`), {
    code: 'FAIRLEAD_OCI_LAYER',
    hint: 'Rebuild the image with layers that are tar archives, plain or compressed by gzip or zstd',
  })
}

export function userUnknown(user: string, state: string): Error {
  return coded(new Error(`Cannot run as user ${JSON.stringify(user)}: ${state}`), {
    code: 'FAIRLEAD_OCI_USER',
    hint: 'Name a user of the image, or give its number',
  })
}

export function commandFailed(file: string, args: readonly string[], state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot run "${[file, ...args].join(' ').slice(0, 300)}": ${state}`), {
    code: 'FAIRLEAD_OCI_RUNTIME_COMMAND',
    cause,
  })
}

export function runtimeUnavailable(state: string): Error {
  return coded(new Error(`Cannot run containers on this machine: ${state}`), {
    code: 'FAIRLEAD_OCI_RUNTIME_UNAVAILABLE',
    hint: 'Run as root on Linux with them installed (on Debian: apt-get install runc conmon nftables), or let pods be plain processes: --runtime process',
  })
}

export function explainFailed(step: string, state: string): Error {
  return coded(new Error(`Cannot explain container at step "${step}": ${state}`), {
    code: 'FAIRLEAD_OCI_EXPLAIN',
    hint: 'Inside another container the kernel may refuse namespaces and mounts: try on the machine itself',
  })
}

export function containerStart(id: string, state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot start container "${id}": ${state}`), { code: 'FAIRLEAD_OCI_CONTAINER_START', cause })
}

/** The message is the runtime's own: clients match on it. */
export function execFailed(state: string, cause?: unknown): Error {
  return coded(new Error(state), { code: 'FAIRLEAD_OCI_EXEC', cause })
}

export function attachUnavailable(state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot attach to container: ${state}`), {
    code: 'FAIRLEAD_OCI_ATTACH',
    cause,
    hint: 'Install perl, or start the container anew when it is older than this version',
  })
}

export function containerMissing(id: string): Error {
  return coded(new Error(`Cannot use container "${id}": it does not exist`), { code: 'FAIRLEAD_OCI_CONTAINER' })
}

export function registrySetting(subject: string, state: string, hint?: string): TypeError {
  return coded(new TypeError(`Cannot serve registry with ${subject}: ${state}`), {
    code: 'FAIRLEAD_OCI_REGISTRY_SETTING',
    hint,
  })
}

export function registryListen(address: string, state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot serve registry at "${address}": ${state}`), {
    code: 'FAIRLEAD_OCI_REGISTRY_LISTEN',
    hint: 'Choose another port with --port, or end the program that listens there',
    cause,
  })
}

/** `faults`: everything that is wrong, not the first thing only. */
export function policyInvalid(source: string, faults: readonly string[], cause?: unknown): SyntaxError {
  return coded(new SyntaxError(`Cannot use policy ${JSON.stringify(source)}: ${faults.join('; ')}`), {
    code: 'FAIRLEAD_OCI_POLICY',
    hint: 'Correct the policy; nothing was done',
    cause,
  })
}

export function keyUnusable(source: string, state: string, hint: string): Error {
  return coded(new Error(`Cannot use key "${source}": ${state}`), { code: 'FAIRLEAD_OCI_KEY', hint })
}

export function signatureMissing(reference: string, digest: string, state: string): Error {
  return coded(new Error(`Cannot verify "${reference}" (${digest}): ${state}`), {
    code: 'FAIRLEAD_OCI_SIGNATURE',
    hint: 'Check that it is the right image and the right key; fairlead image sign signs it',
  })
}

/** `faults`: everything that is wrong, not the first thing only. */
export function imagePolicyInvalid(source: string, faults: readonly string[]): SyntaxError {
  return coded(new SyntaxError(`Cannot use image policy "${source}": ${faults.join('; ')}`), {
    code: 'FAIRLEAD_OCI_IMAGE_POLICY',
    hint: 'Correct the policy; until then nothing is admitted by it',
  })
}

export function imageRefused(reference: string, state: string, cause?: unknown): Error {
  return coded(new Error(`Cannot run image "${reference}": ${state}`), {
    code: 'FAIRLEAD_OCI_IMAGE_REFUSED',
    hint: 'Sign the image with fairlead image sign, or change the image policy of the cluster',
    cause,
  })
}
