import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { reply } from '@fairlead/service'

interface Asset {
  readonly bytes: Uint8Array
  readonly type: string
  /** Changes with the content: what is cached under it never goes stale. */
  readonly version: string
}

/** Written out one by one, so that a bundler sees which files belong to the program. */
const assets = {
  'style.css': loadAsset(new URL('./assets/style.css', import.meta.url), 'text/css; charset=utf-8'),
  'shop.js': loadAsset(new URL('./assets/shop.js', import.meta.url), 'text/javascript; charset=utf-8'),
  'logo.svg': loadAsset(new URL('./assets/logo.svg', import.meta.url), 'image/svg+xml'),
  'pictures.svg': loadAsset(new URL('./assets/pictures.svg', import.meta.url), 'image/svg+xml'),
} satisfies Record<string, Asset>

export type AssetName = keyof typeof assets

/** Where a page finds the asset. */
export function assetUrl(name: AssetName): string {
  return `/assets/${name}?v=${assets[name].version}`
}

/** The answer to a request for `/assets/<name>`, or undefined. */
export function serveAsset(name: string): unknown {
  if (!isAssetName(name)) return undefined
  const { bytes, type, version } = assets[name]
  const headers = { 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable', etag: `"${version}"` }
  return reply(bytes, { headers })
}

function isAssetName(name: string): name is AssetName {
  return Object.hasOwn(assets, name)
}

function loadAsset(url: URL, type: string): Asset {
  const bytes = readFileSync(url)
  return { bytes, type, version: createHash('sha256').update(bytes).digest('hex').slice(0, 12) }
}
