import { openLayout } from '@fairlead/oci/layout'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import type { TextOption } from '../command.ts'
import { notFound } from '../errors.ts'
import { prepareHomes } from '../homes.ts'
import type { Homes } from '../homes.ts'
import { suggest } from '../terminal/text.ts'

/** `--platform OS/ARCH` of commands that look at one image of several. */
export const platformOption: TextOption = {
  type: 'string',
  value: 'OS/ARCH',
  help: 'which image of an index; default: the one for this processor',
}

/** The images of this machine. */
export async function openImages(homes: Homes): Promise<Layout> {
  prepareHomes(homes)
  return await openLayout(homes.images)
}

/** An image of this machine by its reference, or `name@digest`. Throws FAIRLEAD_CLI_NOT_FOUND. */
export async function findImage(
  homes: Homes,
  reference: string,
  platform: string | undefined,
): Promise<{ readonly layout: Layout; readonly image: ResolvedImage }> {
  const layout = await openImages(homes)
  const image = await layout.resolve(reference, platform)
  if (image !== undefined) return { layout, image }
  const meant = suggest(
    reference,
    (await layout.list()).map((entry) => entry.reference),
  )
  throw notFound(
    reference,
    'there is no such image on this machine',
    meant === undefined
      ? 'fairlead image ls shows the images; fairlead image pull gets one'
      : `Did you mean "${meant}"? fairlead image ls shows the images`,
  )
}
