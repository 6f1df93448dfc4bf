import { listSteps } from '@fairlead/oci/inspect'
import { defineCommand, jsonOption } from '../command.ts'
import type { Command } from '../command.ts'
import { findImage, platformOption } from '../image/local.ts'
import { renderAge, renderSize, renderTable } from '../terminal/text.ts'

/** `fairlead image history` */
export const imageHistory: Command = defineCommand({
  name: 'image history',
  summary: 'show the layers of an image, with their sizes and what made them',
  args: ['REFERENCE'],
  options: { platform: platformOption, json: jsonOption },
  examples: [{ command: 'fairlead image history localhost/shop-web:latest', text: 'the layers, the lowest first' }],
  async run({ options, args: [reference = ''], homes, terminal }) {
    const { image } = await findImage(homes, reference, options.platform)
    const steps = listSteps(image)
    if (options.json) {
      terminal.printJson(steps)
      return
    }
    const rows = steps.map(({ digest, sizeBytes, created, createdBy, comment }, index) => [
      String(index),
      digest?.slice(7, 19) ?? '-',
      renderSize(sizeBytes),
      renderAge(created, Date.now()),
      [createdBy, comment].filter(Boolean).join(': ') || '-',
    ])
    terminal.print(renderTable(['LAYER', 'DIGEST', 'SIZE', 'AGE', 'MADE BY'], rows))
  },
})
