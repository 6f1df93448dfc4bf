/** What a registry asks for in `WWW-Authenticate` (RFC 9110 section 11.6.1; distribution token specification). */
export interface Challenge {
  scheme: 'basic' | 'bearer'
  realm: string
  service?: string | undefined
  scope?: string | undefined
}

/** Reads the first challenge of a kind we know; others are passed over. */
export function parseChallenge(header: string): Challenge | undefined {
  for (const match of header.matchAll(
    /(?:^|,)\s*(basic|bearer)\s+((?:[a-z_]+\s*=\s*(?:"(?:\\.|[^"\\])*"|[^\s,]+)\s*,?\s*)*)/gi,
  )) {
    const fields = new Map<string, string>()
    for (const [, key, quoted, plain] of (match[2] ?? '').matchAll(
      /([a-z_]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,]+))/gi,
    )) {
      fields.set((key ?? '').toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '')
    }
    const scheme = match[1]?.toLowerCase() === 'basic' ? 'basic' : 'bearer'
    const realm = fields.get('realm')
    if (realm === undefined && scheme === 'bearer') continue
    return { scheme, realm: realm ?? '', service: fields.get('service'), scope: fields.get('scope') }
  }
  return undefined
}
