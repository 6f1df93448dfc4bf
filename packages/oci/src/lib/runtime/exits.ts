import { watch } from 'node:fs'
import { mkdir, readFile, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** How a container ended, as its monitor wrote it down. */
export interface ExitRecord {
  readonly exitCode: number
  readonly finishedAt: number
}

/** The directory where monitors leave one file per ended container, named by its id, with the exit code in it. */
export interface ExitDirectory {
  readonly dir: string
  read(id: string): Promise<ExitRecord | undefined>
  remove(id: string): Promise<void>
  onExit(listener: (id: string) => void): () => void
  /** Tells listeners of an end found in another way. */
  announce(id: string): void
  close(): void
}

/** Opens an exit directory. Files that are there already are not announced: whoever adopts containers reads them. */
export async function openExits(dir: string): Promise<ExitDirectory> {
  await mkdir(dir, { recursive: true })
  const listeners = new Set<(id: string) => void>()
  const announce = (id: string): void => {
    for (const listener of listeners) listener(id)
  }
  const watcher = watch(dir, { persistent: false }, (_event, name) => {
    // Monitors write elsewhere and rename; a name with a dot first is such a temporary file.
    if (name !== null && !name.startsWith('.') && !name.includes('.tmp')) announce(name)
    else if (name === null) void readdir(dir).then((names) => names.forEach(announce))
  })
  watcher.on('error', () => watcher.close())
  return {
    dir,
    announce,
    async read(id) {
      const path = join(dir, id)
      const text = await readFile(path, 'utf8').catch(() => '')
      if (!/^-?\d+\s*$/.test(text)) return undefined
      // Cleared away meanwhile: with its file the container is no more.
      const file = await stat(path).catch(() => undefined)
      return file && { exitCode: Number(text), finishedAt: Math.floor(file.mtimeMs) }
    },
    remove: (id) => rm(join(dir, id), { force: true }),
    onExit(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => watcher.close(),
  }
}
