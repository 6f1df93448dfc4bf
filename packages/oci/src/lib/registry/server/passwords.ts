import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'

import { registrySetting } from '../../errors.ts'
import { RegistryRefusal } from './protocol.ts'

/** Tells whether a name and a password belong together. */
export interface PasswordCheck {
  /** Throws TOOMANYREQUESTS for an address that has guessed too often. */
  verify(username: string, password: string, address: string): Promise<boolean>
}

/** Guesses that are answered at once; each further one of the same address waits twice as long. */
const FREE_GUESSES = 5
const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 15 * 60_000
const MAX_TRACKED = 10_000
const REMEMBERED_MS = 5 * 60_000
const MAX_WAITING = 32
const MAX_PASSWORD_BYTES = 4096

interface Guesses {
  count: number
  lastAt: number
}

/**
 * Names and passwords of a file as `htpasswd -B` writes it (bcrypt). The file is read again when it changes. A password that
 * was right is remembered as a keyed hash for five minutes, because bcrypt is slow on purpose and clients send it with each request.
 * Throws FAIRLEAD_OCI_REGISTRY_SETTING.
 */
export function openHtpasswd(path: string, clock: () => number = Date.now): PasswordCheck {
  const file = new HtpasswdFile(path)
  file.read()
  const guard = new GuessGuard(clock)
  const remembered = new Remembered(clock)
  const queue = new Queue()
  const underWay = new Map<string, Promise<boolean>>()
  const check = async (
    username: string,
    password: string,
    hash: string | undefined,
    address: string,
  ): Promise<boolean> => {
    guard.check(address)
    guard.begin(address)
    // Also for a name that does not exist, so that the time tells nobody which names do.
    const isGood = await queue.run(() => compare(password, hash ?? UNKNOWN_USER))
    if (!isGood || hash === undefined) return false
    guard.forget(address)
    remembered.add(username, password, hash)
    return true
  }
  return {
    async verify(username, password, address) {
      const hash = file.read().get(username)
      if (hash !== undefined && remembered.has(username, password, hash)) return true
      // Clients send several requests at once: their one password is one guess.
      const key = JSON.stringify([username, password, hash, address])
      const running = underWay.get(key) ?? check(username, password, hash, address)
      underWay.set(key, running)
      try {
        return await running
      } finally {
        underWay.delete(key)
      }
    },
  }
}

/** One name with a password that nobody can guess, so that a fast comparison will do. */
export function ownPassword(name: string, password: string): PasswordCheck {
  const sum = (text: string): Buffer => createHash('sha256').update(text).digest()
  const known = sum(JSON.stringify([name, password]))
  return {
    verify: (username, given) => Promise.resolve(timingSafeEqual(sum(JSON.stringify([username, given])), known)),
  }
}

/** A hash of cost 10 that belongs to no password anybody has. */
const UNKNOWN_USER = '$2b$10$abcdefghijklmnopqrstuu5Q2ZbFvLR8NQ1xKTvQmXyJ1eCk6vYuW'

async function compare(password: string, hash: string): Promise<boolean> {
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) return false
  const { default: bcrypt } = await import('bcryptjs')
  return bcrypt.compare(password, hash)
}

class HtpasswdFile {
  readonly #path: string
  #stamp = ''
  #users: ReadonlyMap<string, string> = new Map()

  constructor(path: string) {
    this.#path = path
  }

  /** The users of the file; those of before while it cannot be read. */
  read(): ReadonlyMap<string, string> {
    const found = statSync(this.#path, { throwIfNoEntry: false })
    if (!found && this.#stamp === '') throw registrySetting(`password file "${this.#path}"`, 'it is not there', HINT)
    const stamp = found ? `${found.ino} ${found.mtimeMs} ${found.size}` : this.#stamp
    if (stamp === this.#stamp) return this.#users
    const isFirst = this.#stamp === ''
    try {
      this.#users = parseHtpasswd(readFileSync(this.#path, 'utf8'), this.#path)
      this.#stamp = stamp
    } catch (error) {
      if (isFirst) throw error
    }
    return this.#users
  }
}

const HINT = 'Write it with: htpasswd -B -c FILE NAME'

function parseHtpasswd(text: string, path: string): Map<string, string> {
  const users = new Map<string, string>()
  for (const [at, line] of text.split('\n').entries()) {
    const entry = line.trim()
    if (entry === '' || entry.startsWith('#')) continue
    const colon = entry.indexOf(':')
    const hash = entry.slice(colon + 1)
    if (colon < 1 || !/^\$2[aby]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$/.test(hash)) {
      throw registrySetting(
        `password file "${path}"`,
        `line ${at + 1} is no name with a bcrypt hash of cost 4 to 16`,
        HINT,
      )
    }
    users.set(entry.slice(0, colon), hash)
  }
  return users
}

/** Counts wrong guesses by address. */
class GuessGuard {
  readonly #clock: () => number
  readonly #guesses = new Map<string, Guesses>()

  constructor(clock: () => number) {
    this.#clock = clock
  }

  check(address: string): void {
    const guesses = this.#guesses.get(address)
    if (!guesses || guesses.count < FREE_GUESSES) return
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (guesses.count - FREE_GUESSES), LONGEST_WAIT_MS)
    const leftMs = guesses.lastAt + waitMs - this.#clock()
    if (leftMs <= 0) return
    throw new RegistryRefusal(429, 'TOOMANYREQUESTS', 'too many wrong passwords came from this address', {
      headers: { 'retry-after': String(Math.ceil(leftMs / 1000)) },
    })
  }

  /** Counted before the answer is known: guesses that run at the same time count too. */
  begin(address: string): void {
    const known = this.#guesses.get(address)
    const now = this.#clock()
    const isOld = known !== undefined && now - known.lastAt > LONGEST_WAIT_MS
    this.#guesses.delete(address)
    this.#guesses.set(address, { count: known && !isOld ? known.count + 1 : 1, lastAt: now })
    const [oldest] = this.#guesses.keys()
    if (this.#guesses.size > MAX_TRACKED && oldest !== undefined) this.#guesses.delete(oldest)
  }

  forget(address: string): void {
    this.#guesses.delete(address)
  }
}

/** Passwords that were right, for a while. */
class Remembered {
  readonly #clock: () => number
  readonly #key = randomBytes(32)
  readonly #until = new Map<string, { proof: Buffer; until: number }>()

  constructor(clock: () => number) {
    this.#clock = clock
  }

  has(username: string, password: string, hash: string): boolean {
    const known = this.#until.get(username)
    return (
      known !== undefined && known.until > this.#clock() && timingSafeEqual(known.proof, this.#prove(password, hash))
    )
  }

  add(username: string, password: string, hash: string): void {
    if (this.#until.size >= MAX_TRACKED) this.#until.clear()
    this.#until.set(username, { proof: this.#prove(password, hash), until: this.#clock() + REMEMBERED_MS })
  }

  /** The hash of the file is part of it: a changed password is asked for at once. */
  #prove(password: string, hash: string): Buffer {
    return createHash('sha256').update(this.#key).update(hash).update('\0').update(password).digest()
  }
}

/** One bcrypt at a time: it is computed in this thread, and everybody else is to be served between. */
class Queue {
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  async run<T>(act: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      throw new RegistryRefusal(429, 'TOOMANYREQUESTS', 'too many passwords are being checked', {
        headers: { 'retry-after': '1' },
      })
    }
    this.#waiting += 1
    const result = this.#last.then(act)
    this.#last = result.catch(() => {})
    try {
      return await result
    } finally {
      this.#waiting -= 1
    }
  }
}
