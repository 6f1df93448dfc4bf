import { resolve } from 'node:path'
import { renderCanonicalJson } from '@fairlead/oci'
import type { ImageManifest } from '@fairlead/oci'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import { CYCLONEDX_TYPE, renderCycloneDx, renderSpdx, SPDX_TYPE } from '@fairlead/oci/sbom'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { writeWholeFile } from '../embedded/files.ts'
import { findImage, platformOption } from '../image/local.ts'
import { parseChoice } from '../parse-command.ts'

/** `fairlead image sbom` */
export const imageSbom: Command = defineCommand({
  name: 'image sbom',
  summary: 'print the bill of materials of an image',
  description:
    'The one the build attached, which knows the packages inside the bundle; for images built elsewhere what their layers\nsay: records of dpkg and apk, node_modules and Node.js. The same image gives the same bytes.',
  args: ['REFERENCE'],
  options: {
    format: {
      type: 'string',
      value: 'FORMAT',
      help: 'spdx (SPDX 2.3, default) or cyclonedx (CycloneDX 1.6), JSON both',
    },
    output: { type: 'string', short: 'o', value: 'FILE', help: 'write it there instead of stdout' },
    platform: platformOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image sbom localhost/shop/web:latest', text: 'SPDX on stdout' },
    {
      command: 'fairlead image sbom localhost/shop/web:latest --format cyclonedx --output web.cdx.json',
      text: 'CycloneDX into a file',
    },
  ],
  async run({ options, args: [reference = ''], homes, cwd, terminal, signal }) {
    const format = parseChoice('format', options.format, ['spdx', 'cyclonedx']) ?? 'spdx'
    const { layout, image } = await findImage(homes, reference, options.platform)
    const attached = await readAttached(layout, image, format === 'spdx' ? SPDX_TYPE : CYCLONEDX_TYPE)
    const { document, unknown } = attached ?? (await readLayers(layout, image, { reference, format, signal }))
    for (const sentence of unknown) terminal.note(`not listed: ${sentence}`)
    const output = options.output === undefined ? undefined : resolve(cwd, options.output)
    if (output !== undefined) writeWholeFile(output, `${renderCanonicalJson(document)}\n`)
    if (options.json) {
      const origin = attached ? 'attached' : 'layers'
      const shown = output === undefined ? { document } : { output }
      terminal.printJson({ reference, digest: image.descriptor.digest, format, origin, unknown, ...shown })
    } else if (output === undefined) terminal.printJson(document)
    else terminal.print(output)
  },
})

interface Bill {
  readonly document: unknown
  /** What it does not know. */
  readonly unknown: readonly string[]
}

async function readAttached(layout: Layout, image: ResolvedImage, type: string): Promise<Bill | undefined> {
  const [found] = await layout.referrers(image.descriptor.digest, type)
  if (!found) return undefined
  const { layers } = JSON.parse((await layout.readBlob(found.digest)).toString()) as ImageManifest
  const [layer] = layers
  return layer && { document: JSON.parse((await layout.readBlob(layer.digest)).toString()) as unknown, unknown: [] }
}

async function readLayers(
  layout: Layout,
  image: ResolvedImage,
  { reference, format, signal }: { reference: string; format: 'spdx' | 'cyclonedx'; signal: AbortSignal },
): Promise<Bill> {
  const { billOfImage } = await import('@fairlead/build/sbom')
  const { bill, unknown } = await billOfImage(layout, image, { reference, signal })
  return { document: format === 'spdx' ? renderSpdx(bill) : renderCycloneDx(bill), unknown }
}
