/** Attributes that hold addresses, by element (apimachinery's `pkg/util/proxy/transport.go` rewrites the same). */
const attributesOf: Readonly<Record<string, readonly string[]>> = {
  a: ['href'],
  applet: ['codebase'],
  area: ['href'],
  audio: ['src'],
  base: ['href'],
  blockquote: ['cite'],
  body: ['background'],
  button: ['formaction'],
  command: ['icon'],
  del: ['cite'],
  embed: ['src'],
  form: ['action'],
  frame: ['longdesc', 'src'],
  head: ['profile'],
  html: ['manifest'],
  iframe: ['longdesc', 'src'],
  img: ['longdesc', 'src', 'usemap'],
  input: ['src', 'usemap', 'formaction'],
  ins: ['cite'],
  link: ['href'],
  object: ['classid', 'codebase', 'data', 'usemap'],
  q: ['cite'],
  script: ['src'],
  source: ['src'],
  video: ['poster', 'src'],
}

/** A tag longer than this is passed on as it is. */
const longestTag = 64 << 10

/**
 * Puts `prefix` before the places that links of an HTML page name on its own server, so that they lead through the proxy. `host`
 * is the server the page is from. Bytes that are no such link stay as they are, in any encoding that contains ASCII.
 */
export async function* rewriteHtml(
  chunks: AsyncIterable<Buffer>,
  prefix: string,
  host: string,
): AsyncGenerator<Buffer> {
  let held = ''
  for await (const chunk of chunks) {
    held += chunk.toString('latin1')
    const end = completeLength(held)
    if (end > 0) yield Buffer.from(rewriteTags(held.slice(0, end), prefix, host), 'latin1')
    held = held.slice(end)
  }
  if (held !== '') yield Buffer.from(rewriteTags(held, prefix, host), 'latin1')
}

/** How much of the text does not end within a tag. */
function completeLength(text: string): number {
  const open = text.lastIndexOf('<')
  return open === -1 || text.includes('>', open) || text.length - open > longestTag ? text.length : open
}

function rewriteTags(text: string, prefix: string, host: string): string {
  return text.replace(/<([a-z]+)((?:\s|\/)[^<>]*)>/gi, (tag, name: string, attributes: string) => {
    const wanted = attributesOf[name.toLowerCase()]
    return wanted === undefined ? tag : `<${name}${rewriteAttributes(attributes, wanted, prefix, host)}>`
  })
}

function rewriteAttributes(text: string, wanted: readonly string[], prefix: string, host: string): string {
  return text.replace(
    /([a-z-]+)(\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/gi,
    (all, name: string, equals: string, double?: string, single?: string, bare?: string) => {
      if (!wanted.includes(name.toLowerCase())) return all
      const quote = double !== undefined ? '"' : single !== undefined ? "'" : ''
      return `${name}${equals}${quote}${rewritePlace(double ?? single ?? bare ?? '', prefix, host)}${quote}`
    },
  )
}

/** The place below `prefix`, when it is an absolute one on `host`; relative ones and other servers stay. */
export function rewritePlace(place: string, prefix: string, host: string): string {
  const [, authority, path = ''] = /^(?:https?:)?\/\/([^/?#]*)(.*)$/i.exec(place) ?? []
  if (authority !== undefined) return authority === host && path.startsWith('/') ? `${prefix}${path}` : place
  const isBelow = place === prefix || place.startsWith(`${prefix}/`)
  return place.startsWith('/') && !isBelow ? `${prefix}${place}` : place
}
