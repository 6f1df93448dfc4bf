const path = require('path')
const express = require('express')

const { version } = require('../package.json')
const { createAccounts } = require('./accounts')
const { page, form, entryList } = require('./pages')
const { createSessions } = require('./sessions')

const MAX_ENTRIES = 500

/** The whole application; entries, accounts and sessions live in memory, so every start begins with an empty book. */
function createApp() {
  const accounts = createAccounts()
  const sessions = createSessions()
  const entries = []

  const app = express()
  app.disable('x-powered-by')
  app.use(express.static(path.join(__dirname, '..', 'public'), { maxAge: '1h' }))
  app.use(express.urlencoded({ extended: false, limit: '16kb' }))
  app.use((req, res, next) => {
    req.user = sessions.userOf(req)
    next()
  })

  app.get('/healthz', (req, res) => res.json({ status: 'ok', version }))

  app.get('/', (req, res) => {
    res.send(page('Guest book', req.user, (req.user ? form('entry') : '') + entryList(entries)))
  })

  app.get('/api/entries', (req, res) => res.json(entries))

  app.post('/entries', (req, res) => {
    if (!req.user) return res.status(401).send(page('Sign in first', undefined, form('sign-in')))
    const text = String(req.body?.text ?? '').trim()
    if (!text) return res.status(400).send(page('Write something first', req.user, form('entry')))
    entries.unshift({ by: req.user, text: text.slice(0, 1000), at: new Date().toISOString() })
    entries.splice(MAX_ENTRIES)
    res.redirect(303, '/')
  })

  app.get('/sign-up', (req, res) => res.send(page('Sign up', req.user, form('sign-up'))))

  app.post('/sign-up', async (req, res) => {
    const problem = await accounts.add(req.body?.name, req.body?.password)
    if (problem) return res.status(400).send(page(problem, undefined, form('sign-up')))
    sessions.start(res, req.body.name)
    res.redirect(303, '/')
  })

  app.get('/sign-in', (req, res) => res.send(page('Sign in', req.user, form('sign-in'))))

  app.post('/sign-in', async (req, res) => {
    const isKnown = await accounts.check(req.body?.name, req.body?.password)
    if (!isKnown) return res.status(403).send(page('Name or password is wrong', undefined, form('sign-in')))
    sessions.start(res, req.body.name)
    res.redirect(303, '/')
  })

  app.post('/sign-out', (req, res) => {
    sessions.end(req, res)
    res.redirect(303, '/')
  })

  return app
}

module.exports = { createApp }
