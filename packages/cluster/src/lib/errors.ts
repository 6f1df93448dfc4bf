/**
 * Every error code of this package, once. Each factory returns the nearest built-in error with a stable `code` and,
 * where there is a next step, a `hint`; docs/reference/errors.md explains each code.
 */

interface ErrorFacts {
  code: string
  hint?: string | undefined
  cause?: unknown
}

/** An error as this package throws it: recognised by shape, not by class. */
export interface ClusterError extends Error {
  readonly code: string
  readonly hint?: string
}

/** Gives `error` its code, and the next step to take when there is one. */
function withCode<E extends Error>(error: E, facts: ErrorFacts): E & ClusterError {
  const { code, hint, cause } = facts
  if (cause !== undefined) error.cause = cause
  return Object.assign(error, hint === undefined ? { code } : { code, hint })
}

/** The code of `error`, whatever it is: ours, or Node's such as `ENOSPC`. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** What went wrong, in words: anything may be thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function nodeCount(count: number, most: number): ClusterError {
  return withCode(new RangeError(`Cannot run a cluster of ${count} nodes: expected a whole number from 1 to ${most}`), {
    code: 'FAIRLEAD_CLUSTER_NODES',
    hint: 'Nodes of one machine share it; each costs some memory of its own.',
  })
}

export function nodeZone(zone: string): ClusterError {
  return withCode(new TypeError(`Cannot name a zone "${zone}": it is to be the value of a label`), {
    code: 'FAIRLEAD_CLUSTER_ZONE',
    hint: 'Use up to 63 letters, digits, dashes, dots and underscores, a letter or digit first and last.',
  })
}

export function storageFull(dir: string, cause: unknown): ClusterError {
  return withCode(new Error(`Cannot write to the store "${dir}": no space left on the device`), {
    code: 'FAIRLEAD_CLUSTER_STORAGE_FULL',
    hint: 'Free space on that file system; the cluster keeps serving reads and accepts writes again by itself.',
    cause,
  })
}

export function storageWrite(dir: string, cause: unknown): ClusterError {
  return withCode(new Error(`Cannot write to the store "${dir}": ${messageOf(cause)}`), {
    code: 'FAIRLEAD_CLUSTER_STORAGE_WRITE',
    hint: 'Check the disk and the permissions of that directory; writes are tried again on a fresh log segment.',
    cause,
  })
}

export function storageLocked(dir: string, pid: number): ClusterError {
  return withCode(new Error(`Cannot open the store "${dir}": process ${pid} is using it`), {
    code: 'FAIRLEAD_CLUSTER_STORAGE_LOCKED',
    hint: `Stop the cluster that uses this directory (process ${pid}), or choose another data directory.`,
  })
}

export function storageCorrupt(path: string, detail: string): ClusterError {
  return withCode(new Error(`Cannot open the store file "${path}": ${detail}`), {
    code: 'FAIRLEAD_CLUSTER_STORAGE_CORRUPT',
    hint: 'Restore a backup with fairlead cluster restore, or start with an empty cluster after fairlead cluster reset.',
  })
}

export function storageConflict(key: string, expected: number, found: number): ClusterError {
  return withCode(
    new Error(`Cannot change "${key}": it is at revision ${found}, expected ${expected === 0 ? 'nothing' : expected}`),
    { code: 'FAIRLEAD_CLUSTER_STORAGE_CONFLICT', hint: 'Read the object again and repeat the change.' },
  )
}

export function storageGone(revision: number, oldest: number): ClusterError {
  return withCode(new RangeError(`Cannot read revision "${revision}": history starts after ${oldest}`), {
    code: 'FAIRLEAD_CLUSTER_STORAGE_GONE',
    hint: 'List again and watch from the revision of that list.',
  })
}

export function storageClosed(dir: string): ClusterError {
  return withCode(new Error(`Cannot use the store "${dir}": it is closed`), { code: 'FAIRLEAD_CLUSTER_STORAGE_CLOSED' })
}

export function kubeletConfigInvalid(file: string, why: string, cause?: unknown): ClusterError {
  return withCode(new Error(`Cannot use the kubelet configuration "${file}": ${why}`), {
    code: 'FAIRLEAD_CLUSTER_KUBELET_CONFIG',
    hint: 'Correct the field, or leave it out; docs/guides/pods.md lists those that nodes follow.',
    cause,
  })
}

export function auditImpossible(file: string, cause: unknown): ClusterError {
  return withCode(new Error(`Cannot audit with "${file}": ${messageOf(cause)}`, { cause }), {
    code: 'FAIRLEAD_CLUSTER_AUDIT',
    hint: 'Name a policy of audit.k8s.io/v1, and a log file in a folder that is there.',
    cause,
  })
}

export function listenFailed(address: string, cause: unknown): ClusterError {
  const inUse = codeOf(cause) === 'EADDRINUSE'
  return withCode(
    new Error(`Cannot listen on "${address}": ${inUse ? 'the port is in use by another process' : messageOf(cause)}`),
    {
      code: 'FAIRLEAD_CLUSTER_LISTEN',
      hint: 'Stop the program that holds the port, or choose another port (0 picks a free one).',
      cause,
    },
  )
}

/** A step on the host's network (devices, namespaces, rules) failed; `detail` is what the tool said. */
export function networkCommand(act: string, subject: string, detail: string, cause?: unknown): ClusterError {
  return withCode(new Error(`Cannot ${act} "${subject}": ${detail}`), {
    code: 'FAIRLEAD_CLUSTER_NETWORK',
    hint: 'Run "fairlead doctor" to see what this machine allows, or choose the network mode "processes".',
    cause,
  })
}

/** Every address range we would use is routed elsewhere on this machine. */
export function networkRange(kind: string, tried: number): ClusterError {
  return withCode(
    new RangeError(`Cannot choose a ${kind} address range: all ${tried} candidates overlap a route of this machine`),
    {
      code: 'FAIRLEAD_CLUSTER_NETWORK_RANGE',
      hint: 'Free one of the ranges 10.64.0.0/12 and 10.80.0.0/12, or choose the network mode "processes".',
    },
  )
}

/** The pod range has no address left. */
export function networkAddresses(cidr: string): ClusterError {
  return withCode(new RangeError(`Cannot allocate a pod address in "${cidr}": every address is in use`), {
    code: 'FAIRLEAD_CLUSTER_NETWORK_ADDRESSES',
    hint: 'Delete pods that are no longer needed.',
  })
}

/** The network was asked for work after it was closed. */
export function networkClosed(act: string, subject: string): ClusterError {
  return withCode(new Error(`Cannot ${act} "${subject}": the network is closed`), {
    code: 'FAIRLEAD_CLUSTER_NETWORK_CLOSED',
  })
}

/** A pod that is being started is not known yet to the part that enforces NetworkPolicies. */
export function networkPolicyUnready(pod: string): ClusterError {
  return withCode(new Error(`Cannot apply network policies to pod "${pod}": the API has not told of it yet`), {
    code: 'FAIRLEAD_CLUSTER_NETWORK_POLICY',
    hint: 'The pod is tried again by itself.',
  })
}

/** A pod refers to something that does not exist, or asks for what this node cannot give. */
export function configInvalid(subject: string, state: string): ClusterError {
  return withCode(new Error(state.includes('not found') ? state : `Cannot use ${subject}: ${state}`), {
    code: 'FAIRLEAD_CLUSTER_POD_CONFIG',
    hint: 'Create what the pod refers to, or correct the reference; the pod is tried again by itself.',
  })
}

/** A pod's image is not in the local content store and may not, or cannot, be pulled. */
export function imageMissing(reference: string, state: string, hint: string, cause?: unknown): ClusterError {
  return withCode(new Error(`Cannot use image "${reference}": ${state}`), {
    code: 'FAIRLEAD_CLUSTER_IMAGE',
    hint,
    cause,
  })
}

/** The program of a lifecycle hook failed. */
export function hookFailed(hook: string, container: string, state: string): ClusterError {
  return withCode(new Error(`Cannot finish ${hook} of container "${container}": ${state}`), {
    code: 'FAIRLEAD_CLUSTER_HOOK',
  })
}
