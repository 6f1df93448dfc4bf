const bcrypt = require('bcrypt')

const ROUNDS = Number(process.env.BCRYPT_ROUNDS ?? 10)
const NAME = /^[a-z][a-z0-9-]{1,29}$/

function createAccounts() {
  const hashes = new Map()

  return {
    /** Answers what is wrong with the request, or nothing when the account was made. */
    async add(name, password) {
      if (typeof name !== 'string' || !NAME.test(name)) return 'A name has 2 to 30 letters, digits and dashes'
      if (typeof password !== 'string' || password.length < 8) return 'A password has at least 8 characters'
      // bcrypt looks at the first 72 bytes only.
      if (Buffer.byteLength(password) > 72) return 'A password has at most 72 bytes'
      if (hashes.has(name)) return 'That name is taken'
      hashes.set(name, '')
      hashes.set(name, await bcrypt.hash(password, ROUNDS))
    },

    async check(name, password) {
      const hash = hashes.get(name)
      return Boolean(hash) && typeof password === 'string' && bcrypt.compare(password, hash)
    },
  }
}

module.exports = { createAccounts }
