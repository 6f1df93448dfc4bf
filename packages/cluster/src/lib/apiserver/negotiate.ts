import type { ApiRequest } from './exchange.ts'
import type { Resource } from './resource.ts'
import { isTrue } from './route.ts'
import { badRequest, notAcceptable } from './status.ts'

/** The shape of an answer: the object itself, its metadata alone, or rows for a terminal. */
export type Shape = 'object' | 'metadata' | 'table'

export type Encoding = 'json' | 'yaml' | 'protobuf'

export interface Format {
  readonly shape: Shape
  /** What the client named: metadata of one object, or of a list. */
  readonly isListShape: boolean
  /** Version of `meta.k8s.io` that tables and metadata are of. */
  readonly metaVersion: 'v1' | 'v1beta1'
  readonly encoding: Encoding
  /** Table rows: how much of the object goes with them. */
  readonly rowObject: 'None' | 'Metadata' | 'Object'
  /** Tables without the definitions of their columns, for those who have been told them. */
  readonly isHeadless?: boolean
  readonly contentType: string
  readonly isPretty: boolean
}

/** The parts of a request that decide how it is answered. */
export type Asked = Pick<ApiRequest, 'headers' | 'query'>

export interface MediaType {
  readonly type: string
  readonly parameters: ReadonlyMap<string, string>
}

const maxKnown = 200
const maxKnownLength = 1000
const knownAccepts = new Map<string, readonly MediaType[]>()
const knownTypes = new Map<string, MediaType>()

/** Clients send the same few headers with every request: what was read of them is kept. */
function remembered<T>(known: Map<string, T>, text: string, parse: (text: string) => T): T {
  const kept = known.get(text)
  if (kept !== undefined) return kept
  const parsed = parse(text)
  if (text.length > maxKnownLength) return parsed
  if (known.size >= maxKnown) known.clear()
  known.set(text, parsed)
  return parsed
}

/** The media types of an `Accept` header, most wanted first. */
export function parseAccept(header = ''): readonly MediaType[] {
  return remembered(knownAccepts, header, readAccept)
}

function readAccept(header: string): readonly MediaType[] {
  if (header.trim() === '') return [{ type: '*/*', parameters: new Map() }]
  return header
    .split(',')
    .map(readMediaType)
    .map((media, index) => ({ media, index, quality: Number(media.parameters.get('q') ?? 1) }))
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality || a.index - b.index)
    .map(({ media }) => media)
}

export function parseMediaType(text: string): MediaType {
  return remembered(knownTypes, text, readMediaType)
}

function readMediaType(text: string): MediaType {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim())
  const parameters = rest.map((part): [string, string] => {
    const at = part.indexOf('=')
    return at < 0 ? [part.toLowerCase(), ''] : [part.slice(0, at).toLowerCase(), part.slice(at + 1).replaceAll('"', '')]
  })
  return { type: type.toLowerCase(), parameters: new Map(parameters) }
}

const contentTypes = {
  json: 'application/json',
  yaml: 'application/yaml',
  protobuf: 'application/vnd.kubernetes.protobuf',
} as const

/**
 * Picks the first acceptable way to answer; throws 406 when there is none. Objects of `resource` that no table describes
 * have no protobuf form, only their metadata has one.
 */
export function negotiate(request: Asked, resource?: Pick<Resource, 'custom'>): Format {
  const isCustom = resource?.custom !== undefined
  for (const media of parseAccept(request.headers['accept'])) {
    const format = toFormat(media, request, isCustom)
    if (format !== undefined) return format
  }
  throw notAcceptable([contentTypes.json, contentTypes.yaml, ...(isCustom ? [] : [contentTypes.protobuf])])
}

/** The same for a watch, which cannot be YAML: its documents have no end. */
export function negotiateStream(request: Asked, resource: Pick<Resource, 'custom'>): Format {
  const isCustom = resource.custom !== undefined
  for (const media of parseAccept(request.headers['accept'])) {
    const format = toFormat(media, request, isCustom)
    if (format?.encoding === 'json') return format
    if (format !== undefined && format.encoding === 'protobuf') {
      return { ...format, contentType: `${format.contentType};stream=watch` }
    }
  }
  const streamed = [contentTypes.json, ...(isCustom ? [] : [contentTypes.protobuf])]
  throw notAcceptable(streamed.map((type) => `${type};stream=watch`))
}

/** The same for what is answered and not kept, such as a review: it has neither rows nor metadata alone. */
export function negotiateAnswer(request: Asked): Format {
  const format = negotiate(request)
  if (format.shape === 'object') return format
  throw notAcceptable(Object.values(contentTypes))
}

/** How an error is told to whoever sent `request`: as asked for, where that can be, else in JSON. */
export function negotiateError(request: Asked): Pick<Format, 'encoding' | 'isPretty'> {
  for (const media of parseAccept(request.headers['accept'])) {
    const encoding = encodingOf(media.type)
    if (encoding !== undefined) return { encoding, isPretty: wantsPretty(request) }
  }
  return { encoding: 'json', isPretty: false }
}

function toFormat(media: MediaType, request: Asked, isCustom: boolean): Format | undefined {
  const encoding = encodingOf(media.type)
  if (encoding === undefined) return undefined
  const stream = media.parameters.get('stream') ?? ''
  if (stream !== '' && stream !== 'watch') return undefined
  const base = {
    encoding,
    metaVersion: media.parameters.get('v') === 'v1beta1' ? 'v1beta1' : 'v1',
    isPretty: media.parameters.get('pretty') === '1' || wantsPretty(request),
    isListShape: false,
    rowObject: 'Metadata',
    contentType: contentTypes[encoding],
  } as const
  const as = media.parameters.get('as')
  if (as === undefined) return encoding === 'protobuf' && isCustom ? undefined : { ...base, shape: 'object' }
  const isMeta =
    media.parameters.get('g') === 'meta.k8s.io' && ['v1', 'v1beta1'].includes(media.parameters.get('v') ?? '')
  if (!isMeta) return undefined
  if (as === 'PartialObjectMetadata') return { ...base, shape: 'metadata' }
  if (as === 'PartialObjectMetadataList') return { ...base, shape: 'metadata', isListShape: true }
  // Tables have no protobuf form.
  if (as !== 'Table' || encoding === 'protobuf') return undefined
  return { ...base, shape: 'table', rowObject: rowObjectOf(request.query) }
}

function encodingOf(type: string): Encoding | undefined {
  switch (type) {
    case 'application/json':
    case '*/*':
    case 'application/*':
      return 'json'
    case 'application/yaml':
      return 'yaml'
    case 'application/vnd.kubernetes.protobuf':
      return 'protobuf'
  }
  return undefined
}

/** Asked for, or asked by a program whose output people read. */
function wantsPretty({ headers, query }: Asked): boolean {
  const asked = query.get('pretty') ?? ''
  return asked === '' ? /^(?:curl|Wget|Mozilla\/5\.0)/.test(headers['user-agent'] ?? '') : isTrue(asked)
}

function rowObjectOf(query: URLSearchParams): Format['rowObject'] {
  const asked = query.get('includeObject') ?? ''
  if (asked === '' || asked === 'Metadata') return 'Metadata'
  if (asked === 'None' || asked === 'Object') return asked
  throw badRequest(`unrecognized includeObject value: ${JSON.stringify(asked)}`)
}
