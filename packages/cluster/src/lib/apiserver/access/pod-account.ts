import { randomInt } from 'node:crypto'
import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, PodSpec, ServiceAccount, Volume } from '@fairlead/kube/types/core-v1'

import type { Store } from '../../storage/store.ts'
import { idOf, knownResource, readObject } from '../resource.ts'
import { forbiddenObject } from '../status.ts'

const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount'
const tokenSeconds = 3607

/** Gives a new pod its service account: the name `default` when it names none. */
export function nameAccount(spec: PodSpec): void {
  if ((spec.serviceAccountName ?? '') === '') spec.serviceAccountName = spec.serviceAccount || 'default'
  spec.serviceAccount = spec.serviceAccountName
}

/**
 * What being of an account brings: a volume with a token in every container, and the secrets that images are pulled
 * with (ServiceAccount admission). Throws 403 when there is no such account.
 */
export function admitAccount(store: Store, pod: KubeObject & Pod): void {
  const { spec, metadata } = pod
  // Mirrors of what a node runs by itself have no token.
  if (spec === undefined || metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined) return
  const { serviceAccountName: name = 'default' } = spec
  const account = readAccount(store, metadata.namespace ?? '', name)
  if (account === undefined) {
    const subject = `${metadata.namespace ?? ''}/${name}`
    const why = `error looking up service account ${subject}: serviceaccount ${JSON.stringify(name)} not found`
    throw forbiddenObject(knownResource('', 'v1', 'pods').info, metadata.name ?? '', why)
  }
  if (spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(spec)
  if ((spec.imagePullSecrets ?? []).length === 0 && (account.imagePullSecrets ?? []).length > 0) {
    spec.imagePullSecrets = account.imagePullSecrets
  }
}

function readAccount(store: Store, namespace: string, name: string): ServiceAccount | undefined {
  const accounts = knownResource('', 'v1', 'serviceaccounts')
  const entry = store.get(accounts.collection, idOf(namespace, name))
  return entry === undefined ? undefined : (readObject(accounts, entry) as KubeObject & ServiceAccount)
}

/** A container that mounts something there itself keeps what it has. */
function mountToken(spec: PodSpec): void {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])]
  const without = containers.filter(
    ({ volumeMounts = [] }) => !volumeMounts.some((mount) => mount.mountPath === mountPath),
  )
  if (without.length === 0) return
  const name = existingVolume(spec) ?? addVolume(spec)
  for (const container of without) {
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath }]
  }
}

function existingVolume({ volumes = [] }: PodSpec): string | undefined {
  return volumes.find(({ name }) => name.startsWith('kube-api-access-'))?.name
}

function addVolume(spec: PodSpec): string {
  const volume = renderVolume(`kube-api-access-${suffix()}`)
  spec.volumes = [...(spec.volumes ?? []), volume]
  return volume.name
}

function renderVolume(name: string): Volume {
  const namespace = { path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [namespace] } },
      ],
      defaultMode: 0o644,
    },
  }
}

const letters = 'bcdfghjklmnpqrstvwxz2456789'

function suffix(): string {
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join('')
}
