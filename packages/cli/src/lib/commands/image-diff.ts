import { diffImages } from '@fairlead/oci/inspect'
import { defineCommand, jsonOption } from '../command.ts'
import type { Command } from '../command.ts'
import { findImage, platformOption } from '../image/local.ts'
import { renderSize } from '../terminal/text.ts'

/** `fairlead image diff` */
export const imageDiff: Command = defineCommand({
  name: 'image diff',
  summary: 'show how the files of two images differ',
  description: 'Compares by content; times are left out. Exits with 0 whether they differ or not.',
  args: ['BEFORE', 'AFTER'],
  options: { platform: platformOption, json: jsonOption },
  examples: [
    { command: 'fairlead image diff localhost/shop-web:1.0 localhost/shop-web:1.1', text: 'what a release changes' },
  ],
  async run({ options, args: [before = '', after = ''], homes, terminal, signal }) {
    const { layout, image: old } = await findImage(homes, before, options.platform)
    const { image: young } = await findImage(homes, after, options.platform)
    const difference = await diffImages(layout, old, young, { signal })
    if (options.json) {
      terminal.printJson(difference)
      return
    }
    const marks = { added: '+', removed: '-', changed: '~' }
    for (const { path, kind, what, sizeBefore, sizeAfter } of difference.files) {
      const size =
        kind === 'changed'
          ? `${what.join(', ')}; ${renderSize(sizeBefore)} -> ${renderSize(sizeAfter)}`
          : renderSize(Math.max(sizeBefore, sizeAfter))
      terminal.print(`${marks[kind]} /${path} (${size})`)
    }
    const { files, sharedBytes, newBytes } = difference
    terminal.note(`${files.length} differences; ${renderSize(newBytes)} to push, ${renderSize(sharedBytes)} shared`)
  },
})
