const { randomBytes } = require('crypto')

const COOKIE = 'guest-book-session'

function createSessions() {
  const users = new Map()

  return {
    userOf: (req) => users.get(tokenOf(req)),

    start(res, user) {
      const token = randomBytes(24).toString('base64url')
      users.set(token, user)
      res.cookie(COOKIE, token, { httpOnly: true, sameSite: 'lax' })
    },

    end(req, res) {
      users.delete(tokenOf(req))
      res.clearCookie(COOKIE)
    },
  }
}

function tokenOf(req) {
  const pairs = (req.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='))
  return pairs.find(([name]) => name === COOKIE)?.[1]
}

module.exports = { createSessions }
