import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { ImageManifest } from '@fairlead/oci'
import { attestImage, predicateTypes } from '@fairlead/oci/sign'
import type { ImageHome } from '@fairlead/oci/sign'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { inputUnreadable, notFound, usage } from '../errors.ts'
import { insecureOption, layoutOption } from '../image/registry.ts'
import {
  legacyOption,
  openHome,
  openSigningKey,
  parseType,
  signingKeyOption,
  typeOption,
  whereItLies,
} from '../image/signing.ts'

/** `fairlead image attest` */
export const imageAttest: Command = defineCommand({
  name: 'image attest',
  summary: 'sign statements about an image: SBOMs, provenance, scans',
  description: `Without --type and --predicate every document is signed that the build attached: SPDX, CycloneDX and SLSA provenance.\n${whereItLies}`,
  args: ['REFERENCE'],
  options: {
    key: signingKeyOption,
    type: typeOption,
    predicate: { type: 'string', value: 'FILE', help: 'what is stated, JSON; default: what the build attached' },
    legacy: legacyOption,
    layout: layoutOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image attest localhost/shop/web:latest --key cosign.key', text: 'SBOMs and provenance' },
    {
      command: 'fairlead image attest ghcr.io/acme/web:1.4.0 --key cosign.key --type vuln --predicate scan.json',
      text: 'the result of a scan',
    },
  ],
  async run({ options, args: [reference = ''], homes, env, cwd, terminal, signal }) {
    const type = parseType(options.type)
    if (options.predicate !== undefined && type === undefined) {
      throw usage('Cannot run "fairlead image attest": --predicate needs --type', 'Say what the file is with --type')
    }
    const given = options.predicate === undefined ? undefined : await readPredicate(resolve(cwd, options.predicate))
    const key = await openSigningKey('image attest', options.key, { env, cwd, signal })
    const home = await openHome(reference, { ...options, homes, env, signal })
    const claims =
      given === undefined ? await attachedClaims(home, type) : [{ predicateType: type ?? '', predicate: given }]
    if (claims.length === 0) {
      const hint = 'Name a file with --predicate, or build the image again'
      throw notFound(type ?? 'documents to sign', `nothing is attached to ${home.reference} that could be signed`, hint)
    }
    const attested = []
    for (const claim of claims) attested.push(await attestImage(home, { ...claim, key, legacy: options.legacy }))
    if (options.json) terminal.printJson({ reference: home.reference, keyHint: key.publicKey.hint, attested })
    else for (const { predicateType } of attested) terminal.print(predicateType)
  },
})

interface Claim {
  readonly predicateType: string
  readonly predicate: unknown
}

/** Types of documents that builds attach without a signature, and what they are as predicates. */
const attachedTypes: Readonly<Record<string, string>> = {
  'application/spdx+json': predicateTypes.spdx,
  'application/vnd.cyclonedx+json': predicateTypes.cyclonedx,
}

async function attachedClaims(home: ImageHome, wanted: string | undefined): Promise<Claim[]> {
  const claims: Claim[] = []
  for (const { artifactType = '', digest } of await home.referrers(home.image.digest)) {
    if (attachedTypes[artifactType] === undefined && artifactType !== 'application/vnd.in-toto+json') continue
    const { layers } = JSON.parse((await home.manifest(digest)).toString()) as ImageManifest
    for (const layer of layers) {
      const document = JSON.parse((await home.blob(layer)).toString()) as Partial<Claim>
      const predicateType = attachedTypes[artifactType] ?? document.predicateType ?? ''
      const predicate = attachedTypes[artifactType] === undefined ? document.predicate : document
      if (wanted === undefined || wanted === predicateType) claims.push({ predicateType, predicate })
    }
  }
  return claims
}

async function readPredicate(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as unknown
  } catch (error) {
    throw inputUnreadable(file, error instanceof SyntaxError ? 'it is no JSON' : 'the file cannot be read', error)
  }
}
