import { isTrue } from './route.ts'
import { notAcceptable } from './status.ts'

/** The shape of an answer: the object itself, its metadata alone, or rows for a terminal. */
export type Shape = 'object' | 'metadata' | 'table'

export interface Format {
  readonly shape: Shape
  readonly encoding: 'json' | 'yaml'
  /** Table rows: how much of the object goes with them. */
  readonly rowObject: 'None' | 'Metadata' | 'Object'
  readonly contentType: string
  readonly isPretty: boolean
}

export interface MediaType {
  readonly type: string
  readonly parameters: ReadonlyMap<string, string>
}

/** The media types of an `Accept` header, most wanted first. */
export function parseAccept(header: string | undefined): MediaType[] {
  if (header === undefined || header.trim() === '') return [{ type: '*/*', parameters: new Map() }]
  return header
    .split(',')
    .map(parseMediaType)
    .map((media, index) => ({ media, index, quality: Number(media.parameters.get('q') ?? 1) }))
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality || a.index - b.index)
    .map(({ media }) => media)
}

export function parseMediaType(text: string): MediaType {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim())
  const parameters = rest.map((part): [string, string] => {
    const at = part.indexOf('=')
    return at < 0 ? [part.toLowerCase(), ''] : [part.slice(0, at).toLowerCase(), part.slice(at + 1).replaceAll('"', '')]
  })
  return { type: type.toLowerCase(), parameters: new Map(parameters) }
}

const accepted = ['application/json', 'application/yaml']

/** Picks the first acceptable way to answer; throws 406 when there is none. */
export function negotiate(accept: string | undefined, query: URLSearchParams): Format {
  for (const media of parseAccept(accept)) {
    const format = toFormat(media, query)
    if (format !== undefined) return format
  }
  throw notAcceptable(accepted)
}

function toFormat(media: MediaType, query: URLSearchParams): Format | undefined {
  const encoding = encodingOf(media.type)
  if (encoding === undefined) return undefined
  const isPretty = isTrue(query.get('pretty'))
  const base = { encoding, isPretty, rowObject: rowObjectOf(query), contentType: contentTypes[encoding] } as const
  const as = media.parameters.get('as')
  if (as === undefined) return { ...base, shape: 'object' }
  const isMeta =
    media.parameters.get('g') === 'meta.k8s.io' && ['v1', 'v1beta1'].includes(media.parameters.get('v') ?? '')
  if (!isMeta) return undefined
  const contentType = `${base.contentType};as=${as};v=v1;g=meta.k8s.io`
  if (as === 'Table') return { ...base, shape: 'table', contentType }
  if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList')
    return { ...base, shape: 'metadata', contentType }
  return undefined
}

const contentTypes = { json: 'application/json', yaml: 'application/yaml' } as const

function encodingOf(type: string): 'json' | 'yaml' | undefined {
  if (type === 'application/json' || type === '*/*' || type === 'application/*') return 'json'
  return type === 'application/yaml' ? 'yaml' : undefined
}

function rowObjectOf(query: URLSearchParams): Format['rowObject'] {
  const asked = query.get('includeObject')
  return asked === 'None' || asked === 'Object' ? asked : 'Metadata'
}
