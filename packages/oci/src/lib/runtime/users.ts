import { userUnknown } from '../errors.ts'

/** Who a process runs as, in numbers. */
export interface UserIds {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
  /** Home directory by the image's passwd file. */
  readonly home?: string | undefined
}

/** The user database of an image: contents of `/etc/passwd` and `/etc/group`, empty where it has none. */
export interface UserFiles {
  readonly passwd: string
  readonly group: string
}

/**
 * Resolves the `User` of an image (image-spec, config.md): `user`, `uid`, `user:group`, `uid:gid`, `uid:group`,
 * `user:gid`; empty means root. A number needs no entry in the files, a name does: `FAIRLEAD_OCI_USER` otherwise.
 */
export function resolveUser(text: string, files: UserFiles): UserIds {
  const [userText = '', groupText] = text.split(':', 2)
  const users = files.passwd.split('\n').map((line) => line.split(':'))
  const groups = files.group.split('\n').map((line) => line.split(':'))
  const wanted = userText === '' ? '0' : userText
  const entry = users.find(([name, , uid]) => name === wanted || (isNumber(wanted) && uid === wanted))
  if (!entry && !isNumber(wanted)) throw userUnknown(text, `the image has no user "${wanted}"`)
  const uid = Number(entry?.[2] ?? wanted)
  const gid = groupText ? groupId(text, groupText, groups) : Number(entry?.[3] ?? 0)
  // Supplementary groups only when the group was left to the image, as for a log-in.
  const member = groupText ? undefined : entry?.[0]
  const additionalGids = groups
    .filter((group) => member !== undefined && (group[3] ?? '').split(',').includes(member))
    .map((group) => Number(group[2]))
    .filter((id) => Number.isInteger(id) && id !== gid)
  return { uid, gid, additionalGids, ...(entry?.[5] ? { home: entry[5] } : {}) }
}

function groupId(text: string, wanted: string, groups: readonly string[][]): number {
  if (isNumber(wanted)) return Number(wanted)
  const found = groups.find(([name]) => name === wanted)?.[2]
  if (found === undefined) throw userUnknown(text, `the image has no group "${wanted}"`)
  return Number(found)
}

function isNumber(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) <= 0xffff_ffff
}
