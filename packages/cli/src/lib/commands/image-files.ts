import { findOwner, listFiles, listSteps } from '@fairlead/oci/inspect'
import type { ImageFile } from '@fairlead/oci/inspect'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import { defineCommand, jsonOption } from '../command.ts'
import type { Command } from '../command.ts'
import { notFound, usage } from '../errors.ts'
import { findImage, platformOption } from '../image/local.ts'
import { renderSize, renderTable } from '../terminal/text.ts'

/** `fairlead image files` */
export const imageFiles: Command = defineCommand({
  name: 'image files',
  summary: 'list the files of an image, or tell why one is there',
  description:
    'Lists what a container would see. With a path that is a file, tells which layer and package it comes from; with a ' +
    'folder, lists what is below.',
  args: ['REFERENCE', '[path]'],
  options: {
    layer: { type: 'string', value: 'N', help: 'only what this layer holds, deletions included' },
    size: { type: 'boolean', help: 'the largest first' },
    platform: platformOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image files localhost/shop-web:latest --size', text: 'every file, the largest first' },
    {
      command: 'fairlead image files localhost/shop-web:latest /usr/lib/x86_64-linux-gnu/libc.so.6',
      text: 'why is this file here',
    },
  ],
  async run({ options, args: [reference = '', path], homes, terminal, signal }) {
    const { image, layout } = await findImage(homes, reference, options.platform)
    const files = await listFiles(layout, image, { layer: readLayer(options.layer, image), signal })
    const wanted = path?.replace(/^\/+|\/+$/g, '')
    const exact = files.find((file) => file.path === wanted)
    if (exact && exact.type !== 'directory') {
      const why = await explainFile(layout, image, exact)
      if (options.json) terminal.printJson(why)
      else terminal.print(renderWhy(why))
      return
    }
    const listed = wanted ? files.filter((file) => file.path === wanted || file.path.startsWith(`${wanted}/`)) : files
    if (listed.length === 0 && wanted)
      throw notFound(
        `/${wanted}`,
        'the image has nothing at this path',
        'fairlead image files REFERENCE lists every file',
      )
    if (options.size) listed.sort((a, b) => b.sizeBytes - a.sizeBytes)
    if (options.json) terminal.printJson(listed)
    else terminal.print(renderFiles(listed))
  },
})

function readLayer(text: string | undefined, { manifest }: ResolvedImage): number | undefined {
  if (text === undefined) return undefined
  const last = manifest.layers.length - 1
  if (/^\d{1,4}$/.test(text) && Number(text) <= last) return Number(text)
  throw usage(
    `Cannot use --layer "${text}": the layers have the numbers 0 to ${last}`,
    'fairlead image history shows the layers with their numbers',
  )
}

interface Why {
  readonly file: ImageFile
  readonly layerDigest: string | undefined
  readonly madeBy: string | undefined
  readonly owner: Awaited<ReturnType<typeof findOwner>>
}

async function explainFile(layout: Layout, image: ResolvedImage, file: ImageFile): Promise<Why> {
  const step = listSteps(image).filter(({ digest }) => digest !== undefined)[file.layer]
  const owner = await findOwner(layout, image, file.path)
  return { file, layerDigest: step?.digest, madeBy: step?.createdBy, owner }
}

function renderWhy({ file, layerDigest, madeBy, owner }: Why): string {
  const { path, type, sizeBytes, linkPath, layer, hidden, mode, uid, gid } = file
  const lines = [
    `/${path}: ${type}${linkPath === '' ? '' : ` to ${linkPath}`}, ${renderSize(sizeBytes)}, mode ${(mode & 0o7777).toString(8)}, owner ${uid}:${gid}`,
    `layer ${layer} (${layerDigest ?? 'unknown'})${madeBy ? `, made by ${madeBy}` : ''}`,
    owner
      ? `part of ${owner.name} ${owner.version} (${owner.kind} package)`
      : 'part of no package: made by the build or the application',
  ]
  if (hidden.length > 0) lines.push(`hides the file of layer ${hidden.join(', ')}, which is stored nevertheless`)
  return lines.join('\n')
}

function renderFiles(files: readonly ImageFile[]): string {
  const rows = files.map(({ path, mode, uid, gid, sizeBytes, layer, type, linkPath }) => [
    (mode & 0o7777).toString(8).padStart(4, '0'),
    `${uid}:${gid}`,
    type === 'directory' ? '-' : renderSize(sizeBytes),
    String(layer),
    `/${path}${type === 'directory' ? '/' : ''}${linkPath === '' ? '' : ` -> ${linkPath}`}`,
  ])
  return renderTable(['MODE', 'OWNER', 'SIZE', 'LAYER', 'PATH'], rows)
}
