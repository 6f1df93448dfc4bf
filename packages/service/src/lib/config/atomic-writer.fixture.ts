import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Writes a directory as the kubelet does (pkg/volume/util/atomic_writer.go): a new folder, then one rename of `..data`. */
export function createAtomicWriter(dir: string): { write(entries: Readonly<Record<string, string>>): Promise<void> } {
  let version = 0
  let current: { readonly folder: string; readonly names: readonly string[] } | undefined
  return {
    async write(entries) {
      version += 1
      const folder = `..2026_11_21_${version}`
      const names = Object.keys(entries)
      await mkdir(join(dir, folder), { recursive: true })
      for (const [name, text] of Object.entries(entries)) await writeFile(join(dir, folder, name), text)
      await symlink(folder, join(dir, '..data_tmp'))
      await rename(join(dir, '..data_tmp'), join(dir, '..data'))
      for (const name of names) {
        if (current?.names.includes(name) !== true) await symlink(join('..data', name), join(dir, name))
      }
      for (const name of current?.names ?? []) if (!names.includes(name)) await rm(join(dir, name))
      if (current) await rm(join(dir, current.folder), { recursive: true })
      current = { folder, names }
    },
  }
}
