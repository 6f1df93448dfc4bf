import { platformSyntax } from '../errors.ts'

/** Operating system and processor an image is for, in Go's words (`linux`, `amd64`, `arm64`). */
export interface Platform {
  os: string
  architecture: string
  variant?: string | undefined
}

/** Reads `os/architecture[/variant]`; throws `FAIRLEAD_OCI_PLATFORM`. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9]+))?$/.exec(text)
  if (!match?.[1] || !match[2]) throw platformSyntax(text)
  return { os: match[1], architecture: match[2], ...(match[3] ? { variant: match[3] } : {}) }
}

/** The `os/architecture[/variant]` form. */
export function renderPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/')
}

/** The Linux platform of the processor we run on: containers are Linux even where the host is not. */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: GO_ARCHITECTURE[process.arch] ?? process.arch }
}

/** Whether an image for `offered` runs where `wanted` is asked for; arm64 needs no variant and means v8. */
export function matchesPlatform(offered: Platform, wanted: Platform): boolean {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return false
  return wanted.variant === undefined || variantOf(offered) === variantOf(wanted)
}

const GO_ARCHITECTURE: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  ia32: '386',
  arm: 'arm',
  ppc64: 'ppc64le',
}

function variantOf(platform: Platform): string | undefined {
  return platform.variant ?? (platform.architecture === 'arm64' ? 'v8' : undefined)
}
