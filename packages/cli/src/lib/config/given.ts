import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { parseManifests } from '@fairlead/kube/codec'
import { readSources } from '@fairlead/service/config'
import type { ConfigValues } from '@fairlead/service/config'
import { inputUnreadable } from '../errors.ts'

/** Where the values of a check come from. */
export interface GivenOptions {
  readonly envFile: string | undefined
  readonly dir: string | undefined
  readonly configMap: string | undefined
  readonly secret: string | undefined
  readonly cwd: string
  /** Of this process; counts only when nothing is given. */
  readonly env: NodeJS.ProcessEnv
}

type Mounted = NonNullable<ConfigValues['mounted']>

/** The values that are given by options; the environment and the folders of this machine when none is. Throws FAIRLEAD_CLI_INPUT. */
export async function readGiven(options: GivenOptions): Promise<ConfigValues> {
  const { envFile, dir, configMap, secret, cwd } = options
  if (envFile === undefined && dir === undefined && configMap === undefined && secret === undefined)
    return { env: options.env }
  const mounted: Mounted[number][] = []
  const faults: { origin: string; message: string }[] = []
  if (dir !== undefined) {
    const read = await readSources({ dir: resolve(cwd, dir) })
    mounted.push(...(read.mounted ?? []))
    faults.push(...(read.faults ?? []))
    if (read.mounted?.every(({ entries }) => Object.keys(entries).length === 0) && read.faults?.length === 0)
      throw inputUnreadable(dir, 'it is not there, or holds no file')
  }
  if (configMap !== undefined) mounted.push(...readObjects(resolve(cwd, configMap), 'ConfigMap'))
  if (secret !== undefined) mounted.push(...readObjects(resolve(cwd, secret), 'Secret'))
  return { mounted, faults, env: envFile === undefined ? {} : parseEnv(readText(resolve(cwd, envFile))) }
}

/** The entries of the ConfigMaps or Secrets in a manifest file, as they would be mounted. */
function readObjects(file: string, kind: 'ConfigMap' | 'Secret'): Mounted {
  const objects = parseManifests(readText(file), file).filter((object) => object.kind === kind)
  if (objects.length === 0) throw inputUnreadable(file, `it holds no ${kind}`)
  return objects.map((object) => {
    const { data, stringData, binaryData } = object as unknown as Record<string, Record<string, unknown> | undefined>
    const decode = (value: unknown): string => Buffer.from(String(value), 'base64').toString('utf8')
    const entries = [
      ...Object.entries(binaryData ?? {}).map(([name, value]) => [name, decode(value)]),
      ...Object.entries(data ?? {}).map(([name, value]) => [name, kind === 'Secret' ? decode(value) : String(value)]),
      ...Object.entries(stringData ?? {}).map(([name, value]) => [name, String(value)]),
    ]
    return {
      name: `${kind} ${object.metadata?.name ?? '?'}`,
      entries: Object.fromEntries(entries) as Record<string, string>,
    }
  })
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw inputUnreadable(
      file,
      error instanceof Error && 'code' in error && error.code === 'ENOENT' ? 'it is not there' : 'it cannot be read',
      error,
    )
  }
}
