import { credentialsUnusable } from '../errors.ts'
import type { Reference } from '../spec/reference.ts'
import type { Credentials } from './auth.ts'
import { parseEntry } from './credentials.ts'

/** One entry of a docker configuration: credentials for the images whose names begin as `place` does. */
export interface DockerAuth {
  /** Host, with a port and a path or without; `*` in a part of the host stands for any text. */
  readonly place: string
  readonly credentials: Credentials
}

/**
 * The entries of a docker configuration: `config.json` (`{ "auths": … }`), or the older `.dockercfg`, which is the map of
 * entries itself. `source` is what errors name. Throws `FAIRLEAD_OCI_CREDENTIALS`.
 */
export function parseDockerAuths(text: string, source: string): DockerAuth[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The message of the parser quotes what may be a secret.
    throw unusable(source, 'it is no JSON')
  }
  const whole = asObject(value)
  const auths = whole && ('auths' in whole ? asObject(whole['auths']) : whole)
  if (!auths) throw unusable(source, 'it is no docker configuration')
  return Object.entries(auths).flatMap(([key, entry]) => {
    const credentials = parseEntry(source, key, asObject(entry) ?? {})
    return credentials ? [{ place: placeOf(key), credentials }] : []
  })
}

/**
 * Credentials for an image, the most exact place first: the rules by which the kubelet finds those of imagePullSecrets
 * (Kubernetes, "Images", "Interpretation of config.json"). There may be several, and each is to be tried.
 */
export function findDockerAuths(auths: readonly DockerAuth[], { registry, repository }: Reference): Credentials[] {
  const hosts = registry === 'docker.io' ? ['docker.io', 'index.docker.io', 'registry-1.docker.io'] : [registry]
  return auths
    .filter(({ place }) => hosts.some((host) => covers(place, host, repository)))
    .toSorted((a, b) => (a.place < b.place ? 1 : a.place > b.place ? -1 : 0))
    .map(({ credentials }) => credentials)
}

/** `/v1/` and `/v2/` of addresses say nothing of images. */
function placeOf(key: string): string {
  const [host = '', ...path] = key.replace(/^https?:\/\//, '').split('/')
  const rest = (path[0] === 'v1' || path[0] === 'v2' ? path.slice(1) : path).join('/')
  return rest === '' ? host : `${host}/${rest}`
}

function covers(place: string, host: string, repository: string): boolean {
  const slash = place.indexOf('/')
  const pattern = slash === -1 ? place : place.slice(0, slash)
  const path = slash === -1 ? '' : place.slice(slash + 1)
  return repository.startsWith(path) && matchesHost(pattern, host)
}

/** A `*` stays within one part of the host: `*.example` does not cover `a.b.example`. */
function matchesHost(pattern: string, host: string): boolean {
  const [wanted, given] = [pattern.split('.'), host.split('.')]
  if (wanted.length !== given.length) return false
  return wanted.every((part, index) => {
    const source = part.replaceAll(/[\\^$+?()[\]{}|]/g, String.raw`\$&`).replaceAll('*', '.*')
    return new RegExp(`^${source}$`).test(given[index] ?? '')
  })
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
}

function unusable(source: string, state: string): Error {
  return credentialsUnusable(source, state, 'Make it as "kubectl create secret docker-registry" does')
}
