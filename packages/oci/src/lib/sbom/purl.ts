/** Parts of a package URL (purl-spec 1.0). */
export interface PurlParts {
  type: string
  namespace?: string | undefined
  name: string
  version?: string | undefined
  qualifiers?: Readonly<Record<string, string | undefined>> | undefined
}

/** Writes a package URL such as `pkg:deb/debian/libc6@2.36-9?arch=amd64`. Qualifiers are sorted, empty ones left out. */
export function renderPurl({ type, namespace, name, version, qualifiers = {} }: PurlParts): string {
  const path = [...(namespace?.split('/') ?? []), name].map(encode).join('/')
  const pairs = Object.entries(qualifiers)
    .filter((pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== '')
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${encode(value)}`)
  return `pkg:${type}/${path}${version ? `@${encode(version)}` : ''}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`
}

/** The package URL of an npm package; the scope is its namespace. */
export function npmPurl(name: string, version: string): string {
  const [scope, bare] = name.startsWith('@') ? name.split('/') : [undefined, name]
  return renderPurl({ type: 'npm', namespace: scope, name: bare ?? name, version })
}

/** Percent encoding, with the colon and the tilde left as they are ("Character encoding"). */
function encode(text: string): string {
  return encodeURIComponent(text)
    .replaceAll('%3A', ':')
    .replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
