import type { Readable } from 'node:stream'

/** Bytes in memory, or content opened when its turn comes; `sizeBytes` must be exact. */
export type TarContent = Uint8Array | { sizeBytes: number; open(): AsyncIterable<Uint8Array> | Readable }

/** One member to write. Paths are relative, with forward slashes and no trailing slash. */
export interface TarEntry {
  path: string
  type: 'file' | 'directory' | 'symlink' | 'hardlink'
  /** Permission bits; 0644 for files, 0755 for directories, 0777 for links. */
  mode?: number | undefined
  /** Default 0. */
  uid?: number | undefined
  /** Default 0. */
  gid?: number | undefined
  /** Whole seconds since 1970; default 0. */
  mtimeSeconds?: number | undefined
  /** Target of a symbolic link (any text) or of a hard link (a path in the same archive). */
  linkPath?: string | undefined
  content?: TarContent | undefined
}

/** One member as read. Paths are normalised: relative, no `.` or `..`, no trailing slash; the root itself is `''`. */
export interface TarMember {
  path: string
  type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'character-device' | 'block-device' | 'fifo'
  mode: number
  uid: number
  gid: number
  /** Seconds since 1970, with fractions where the archive has them. */
  mtimeSeconds: number
  sizeBytes: number
  linkPath: string
  deviceMajor: number
  deviceMinor: number
  /** Extended attributes (`SCHILY.xattr.*`), raw bytes. */
  xattrs: ReadonlyMap<string, Uint8Array>
  /** The content, to be read before the next member is asked for; what is left unread is skipped. */
  body: AsyncIterable<Uint8Array>
  /** The whole content; meant for small files, bounded by the reader's `maxMemberBytes`. */
  bytes(): Promise<Buffer>
}
