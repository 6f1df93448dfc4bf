import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AttachedPod } from './pod-network.ts'

/** A pod and its address, as kept on disk. */
export type Attachment = AttachedPod

/** The attachments of a cluster, one file per pod: each write costs the same however many pods there are. */
export interface AttachmentFiles {
  readonly all: ReadonlyMap<string, Attachment>
  write(attachment: Attachment): Promise<void>
  remove(uid: string): Promise<void>
}

/** Opens the attachment files in `dir`; damaged ones are dropped, their namespaces are then swept as unowned. */
export async function openAttachments(dir: string): Promise<AttachmentFiles> {
  await mkdir(dir, { recursive: true })
  const all = new Map<string, Attachment>()
  for (const name of await readdir(dir)) {
    const attachment = name.endsWith('.json') ? await readAttachment(join(dir, name)) : undefined
    if (attachment !== undefined && fileName(attachment.uid) === name) all.set(attachment.uid, attachment)
    else await rm(join(dir, name), { force: true })
  }
  return {
    all,
    async write(attachment) {
      all.set(attachment.uid, attachment)
      const path = join(dir, fileName(attachment.uid))
      await writeFile(`${path}.tmp`, JSON.stringify(attachment))
      await rename(`${path}.tmp`, path)
    },
    async remove(uid) {
      all.delete(uid)
      await rm(join(dir, fileName(uid)), { force: true })
    },
  }
}

// A uid is client-chosen for static pods: never let it name another file.
function fileName(uid: string): string {
  return `${encodeURIComponent(uid).replaceAll('.', '%2E')}.json`
}

async function readAttachment(path: string): Promise<Attachment | undefined> {
  try {
    const kept: Partial<Attachment> = JSON.parse(await readFile(path, 'utf8'))
    const { uid, namespace, name, ip, hostPorts, nodeName } = kept
    if (typeof uid !== 'string' || typeof namespace !== 'string') return undefined
    if (typeof name !== 'string' || typeof ip !== 'string') return undefined
    return {
      uid,
      namespace,
      name,
      ip,
      ...(hostPorts === undefined ? {} : { hostPorts }),
      ...(typeof nodeName === 'string' ? { nodeName } : {}),
    }
  } catch {
    return undefined
  }
}
