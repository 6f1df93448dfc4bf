import type { AppEntry } from './contents.ts'

/** Name of the asset that says what {@link BYTES_ASSET} holds. */
export const SETTINGS_ASSET = 'fairlead.json'
/** Name of the asset with the bytes of all files, one behind the other. */
export const BYTES_ASSET = 'fairlead.bin'

/** What the executable knows of its program. */
export interface SeaSettings {
  name: string
  /** Hexadecimal digits that stand for the content: names the folder it is unpacked to. */
  key: string
  /** Environment variables that are set unless they are already. */
  env: Readonly<Record<string, string>>
  main: string
  entries: readonly AppEntry[]
}

/**
 * The script in the executable (CommonJS, `node:sea`). Modules, assets, workers and native addons find each other by paths on the
 * disk, so the program is unpacked once, into a folder that belongs to the user alone and is named after the content, and
 * runs there as it does in `/app` of an image. Every file is written whole or not at all and one that is there in full is left as it
 * is, so several processes may start at once, one that was killed is made good by the next, and so is a cleaner of `/tmp`.
 */
export const BOOTSTRAP: string = String.raw`'use strict'
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const Module = require('node:module')
const { getAsset, getRawAsset } = require('node:sea')
const settings = JSON.parse(getAsset('${SETTINGS_ASSET}', 'utf8'))

const uid = process.getuid()
const { env } = process
const cache = env.XDG_CACHE_HOME || (env.HOME && path.join(env.HOME, '.cache'))
const homes = [
  env.FAIRLEAD_UNPACK_DIR,
  cache && path.join(cache, 'fairlead-unpacked'),
  path.join(os.tmpdir(), 'fairlead-unpacked-' + uid),
  '/dev/shm/fairlead-unpacked-' + uid,
].filter(Boolean)
const dir = unpack(homes)

for (const [name, value] of Object.entries(settings.env)) if (env[name] === undefined) env[name] = value
env.INIT_CWD ??= process.cwd()
process.chdir(dir)
const forked = env.NODE_CHANNEL_FD !== undefined && process.argv[2] !== undefined && path.resolve(dir, process.argv[2])
const isOwn = forked && forked.startsWith(dir + path.sep) && fs.existsSync(forked)
process.argv.splice(1, isOwn ? 2 : 1, isOwn ? forked : path.join(dir, settings.main))
Module.enableCompileCache(path.join(dir, '.compile-cache'))
Module.runMain(process.argv[1])

function unpack(homes) {
  const failures = []
  for (const home of homes) {
    try {
      const own = privateFolder(home)
      const target = path.join(own, settings.name.replaceAll('/', '-') + '-' + settings.key)
      writeAll(target)
      return target
    } catch (error) {
      failures.push('  ' + home + ': ' + error.message)
    }
  }
  process.stderr.write(
    'Cannot unpack "' + settings.name + '": no folder can be written to\n' + failures.join('\n') +
    '\n  Name one in FAIRLEAD_UNPACK_DIR\n')
  process.exit(1)
}

// Whoever can write here decides what runs: a folder others made or may write to is not used.
function privateFolder(home) {
  const made = path.resolve(home)
  fs.mkdirSync(made, { recursive: true, mode: 0o700 })
  const found = fs.lstatSync(made)
  if (!found.isDirectory()) throw new Error('it is no folder')
  if (found.uid !== uid) throw new Error('it belongs to another user')
  if (found.mode & 0o022) throw new Error('others may write to it')
  return made
}

function writeAll(target) {
  let bytes
  fs.mkdirSync(target, { recursive: true, mode: 0o700 })
  for (const entry of settings.entries) {
    const place = path.join(target, entry.path)
    if (entry.type === 'directory') fs.mkdirSync(place, { recursive: true })
    else if (!isThere(place, entry)) {
      fs.mkdirSync(path.dirname(place), { recursive: true })
      const temporary = place + '.' + process.pid + '.part'
      fs.rmSync(temporary, { force: true })
      if (entry.type === 'symlink') fs.symlinkSync(entry.linkPath, temporary)
      else {
        bytes ??= new Uint8Array(getRawAsset('${BYTES_ASSET}'))
        fs.writeFileSync(temporary, bytes.subarray(entry.offset, entry.offset + entry.sizeBytes), { mode: entry.mode })
        fs.utimesSync(temporary, entry.mtimeSeconds, entry.mtimeSeconds)
      }
      fs.renameSync(temporary, place)
    }
  }
}

function isThere(place, entry) {
  const found = fs.lstatSync(place, { throwIfNoEntry: false })
  if (!found) return false
  return entry.type === 'symlink' ? found.isSymbolicLink() : found.isFile() && found.size === entry.sizeBytes
}
`
