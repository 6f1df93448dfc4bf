import { referenceSyntax } from '../errors.ts'
import { isDigest } from './digest.ts'
import type { Digest } from './digest.ts'

/** Where an image lives; at least one of `tag` and `digest` is meant when it is pulled, `latest` when neither is written. */
export interface Reference {
  /** Host and optional port; `docker.io` when the text names none. */
  registry: string
  /** Path inside the registry; `library/<name>` for Docker Hub's one-word names. */
  repository: string
  tag?: string | undefined
  digest?: Digest | undefined
}

const HOST = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/

/**
 * Reads `[registry/]repository[:tag][@digest]` by the grammar of the distribution project, with Docker Hub's short
 * names resolved. A tag and a digest may both be given; the digest then decides. Throws `FAIRLEAD_OCI_REFERENCE`.
 */
export function parseReference(text: string): Reference {
  const { name, digest } = splitOffDigest(text)
  const colon = name.lastIndexOf(':')
  const hasTag = colon > name.lastIndexOf('/')
  const tag = hasTag ? name.slice(colon + 1) : undefined
  if (tag === '')
    throw referenceSyntax(text, 'tag is empty after ":"', 'Write a tag after the colon, or drop the colon')
  if (tag !== undefined && !TAG.test(tag)) throw referenceSyntax(text, `tag "${tag}" has a character tags cannot have`)
  const { registry, repository } = splitName(hasTag ? name.slice(0, colon) : name)
  checkName(text, registry, repository)
  return { registry, repository, ...(tag ? { tag } : {}), ...(digest ? { digest } : {}) }
}

/** The full form: registry, repository, tag (`latest` when there is neither tag nor digest) and digest. */
export function renderReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference
  const shownTag = tag ?? (digest ? undefined : 'latest')
  return `${registry}/${repository}${shownTag ? `:${shownTag}` : ''}${digest ? `@${digest}` : ''}`
}

function splitOffDigest(text: string): { name: string; digest?: Digest } {
  const at = text.indexOf('@')
  if (at === -1) return { name: text }
  const digest = text.slice(at + 1)
  if (!isDigest(digest)) throw referenceSyntax(text, `"${digest}" is no digest`)
  return { name: text.slice(0, at), digest }
}

function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/')
  const first = slash === -1 ? '' : name.slice(0, slash)
  const isHost = first === 'localhost' || /[.:[]/.test(first) || first !== first.toLowerCase()
  if (isHost) return { registry: first === 'index.docker.io' ? 'docker.io' : first, repository: name.slice(slash + 1) }
  return { registry: 'docker.io', repository: slash === -1 ? `library/${name}` : name }
}

function checkName(text: string, registry: string, repository: string): void {
  if (!HOST.test(registry)) throw referenceSyntax(text, `"${registry}" is no registry host`)
  if (repository === '' || repository === 'library/') throw referenceSyntax(text, 'repository is empty')
  if (`${registry}/${repository}`.length > 255) throw referenceSyntax(text, 'name is longer than 255 characters')
  const bad = repository.split('/').find((component) => !COMPONENT.test(component))
  if (bad === undefined) return
  const hint = bad === bad.toLowerCase() ? undefined : 'Repository names are written in lower case'
  throw referenceSyntax(text, `"${bad}" is no part of a repository name`, hint)
}
