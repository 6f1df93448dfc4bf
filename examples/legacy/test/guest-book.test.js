const assert = require('node:assert/strict')
const { once } = require('node:events')
const { after, before, describe, it } = require('node:test')

process.env.BCRYPT_ROUNDS = '4'
const { createApp } = require('../src/app')

describe('guest book', () => {
  let server
  let origin

  before(async () => {
    server = createApp().listen(0, '127.0.0.1')
    await once(server, 'listening')
    origin = `http://127.0.0.1:${server.address().port}`
  })
  after(() => server.close())

  const post = (path, fields, headers = {}) =>
    fetch(origin + path, { method: 'POST', body: new URLSearchParams(fields), headers, redirect: 'manual' })

  it('serves its pages and its style sheet', async () => {
    assert.match(await (await fetch(origin)).text(), /No entries yet/)
    assert.equal((await fetch(`${origin}/style.css`)).headers.get('content-type'), 'text/css; charset=utf-8')
    assert.deepEqual(await (await fetch(`${origin}/healthz`)).json(), { status: 'ok', version: '1.4.0' })
  })

  it('takes entries from people who signed up, and shows them escaped', async () => {
    const signUp = await post('/sign-up', { name: 'ada', password: 'difference' })
    assert.equal(signUp.status, 303)
    const cookie = signUp.headers.get('set-cookie').split(';')[0]
    assert.equal((await post('/entries', { text: 'a < b' }, { cookie })).status, 303)
    const html = await (await fetch(origin)).text()
    assert.match(html, /a &lt; b/)
  })

  it('lets people in with the right password only', async () => {
    await post('/sign-up', { name: 'grace', password: 'nanoseconds' })
    assert.equal((await post('/sign-in', { name: 'grace', password: 'nanoseconds' })).status, 303)
    assert.equal((await post('/sign-in', { name: 'grace', password: 'milliseconds' })).status, 403)
    assert.equal((await post('/sign-in', { name: 'nobody', password: 'nanoseconds' })).status, 403)
  })

  it('refuses entries of strangers and names already taken', async () => {
    assert.equal((await post('/entries', { text: 'hello' })).status, 401)
    await post('/sign-up', { name: 'linus', password: 'just for fun' })
    assert.match(await (await post('/sign-up', { name: 'linus', password: 'just for fun' })).text(), /taken/)
  })
})
