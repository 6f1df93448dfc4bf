import type { ResolvedImage } from '@fairlead/oci/layout'
import { defineCommand, jsonOption } from '../command.ts'
import type { Command } from '../command.ts'
import { openImages } from '../image/local.ts'
import { renderAge, renderSize, renderTable } from '../terminal/text.ts'

/** `fairlead image ls` */
export const imageLs: Command = defineCommand({
  name: 'image ls',
  summary: 'list the images of this machine',
  description: 'Sizes are those of the stored, compressed layers; layers that images share lie on the disk once.',
  options: { json: jsonOption },
  examples: [{ command: 'fairlead image ls', text: 'every image with its platform, size and age' }],
  async run({ options, homes, terminal }) {
    const layout = await openImages(homes)
    const found = []
    for (const { reference, descriptor } of await layout.list()) {
      // An index of several platforms is shown by the one that runs here.
      const image = await layout.resolve(reference).catch(() => undefined)
      found.push({ reference, digest: descriptor.digest, ...(image ? aboutImage(image) : {}) })
    }
    if (options.json) terminal.printJson(found)
    else if (found.length === 0) terminal.note('there are no images yet; fairlead build makes some')
    else {
      const rows = found.map(({ reference, digest, platform = '-', sizeBytes, created }) => [
        reference,
        digest.slice(7, 19),
        platform,
        sizeBytes === undefined ? '-' : renderSize(sizeBytes),
        renderAge(created, Date.now()),
      ])
      terminal.print(renderTable(['REFERENCE', 'DIGEST', 'PLATFORM', 'SIZE', 'AGE'], rows))
    }
  },
})

interface About {
  readonly platform: string
  readonly sizeBytes: number
  readonly created: string | undefined
}

function aboutImage({ config, manifest }: ResolvedImage): About {
  const sizeBytes = manifest.layers.reduce((sum, { size }) => sum + size, 0)
  return { platform: `${config.os}/${config.architecture}`, sizeBytes, created: config.created }
}
