import type { Volume, VolumeMount } from '@fairlead/kube/types/core-v1'
import type { AppService, VolumeDefinition } from '../app/definition.ts'

/** Where the files of `config` appear. */
const configPath = '/etc/config'
/** Room for temporary files on a read-only root file system. */
const tmp: VolumeDefinition = { ephemeral: { sizeLimit: '64Mi' } }

/** Name of the ConfigMap that holds the `config` of a service. */
export function configMapName(service: AppService): string {
  return `${service.name}-config`
}

/** The volumes of the pods of a service and where its container mounts them. */
export function renderVolumes(service: AppService): { volumes: Volume[]; volumeMounts: VolumeMount[] } {
  const config = Object.keys(service.config).length > 0 ? { [configPath]: { configMap: configMapName(service) } } : {}
  const definitions: Record<string, VolumeDefinition> = { '/tmp': tmp, ...config, ...service.volumes }
  const volumes: Volume[] = []
  const volumeMounts: VolumeMount[] = []
  for (const [mountPath, definition] of Object.entries(definitions)) {
    const name = freeName(mountPath, volumes)
    volumes.push({ name, ...renderSource(definition) })
    volumeMounts.push({ name, mountPath, ...(isFiles(definition) && { readOnly: true }) })
  }
  return { volumes, volumeMounts }
}

function isFiles(definition: VolumeDefinition): boolean {
  return typeof definition === 'object' && !('ephemeral' in definition)
}

function renderSource(definition: VolumeDefinition): Omit<Volume, 'name'> {
  if (definition === 'ephemeral') return { emptyDir: {} }
  if ('ephemeral' in definition) return { emptyDir: { sizeLimit: definition.ephemeral.sizeLimit } }
  if ('configMap' in definition) return { configMap: { name: definition.configMap } }
  return { secret: { secretName: definition.secret } }
}

/** `/var/lib/data` becomes `var-lib-data`; a second path that reads the same gets a number. */
function freeName(mountPath: string, taken: readonly Volume[]): string {
  const base = mountPath
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 58)
    .replaceAll(/^-|-$/g, '')
  const names = new Set(taken.map(({ name }) => name))
  let name = base
  for (let count = 2; names.has(name); count++) name = `${base}-${count}`
  return name
}
