const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (text) => String(text).replace(/[&<>"']/g, (character) => ENTITIES[character])

const FORMS = {
  entry: `<form method="post" action="/entries">
    <textarea name="text" maxlength="1000" required placeholder="Leave a line"></textarea><button>Sign the book</button>
  </form>`,
  'sign-up': credentials('/sign-up', 'new-password', 'Sign up'),
  'sign-in': credentials('/sign-in', 'current-password', 'Sign in'),
}

function credentials(action, autocomplete, label) {
  return `<form method="post" action="${action}">
    <input name="name" required placeholder="Name" autocomplete="username">
    <input name="password" type="password" required minlength="8" placeholder="Password" autocomplete="${autocomplete}">
    <button>${label}</button>
  </form>`
}

function page(title, user, body) {
  const account = user
    ? `<form method="post" action="/sign-out"><span>${escape(user)}</span> <button>Sign out</button></form>`
    : '<a href="/sign-in">Sign in</a> <a href="/sign-up">Sign up</a>'
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escape(title)}</title><link rel="stylesheet" href="/style.css"></head>
<body>
  <header><a href="/">Guest book</a><nav>${account}</nav></header>
  <main><h1>${escape(title)}</h1>${body}</main>
</body>
</html>`
}

function entryList(entries) {
  if (entries.length === 0) return '<p>No entries yet.</p>'
  const items = entries.map(
    ({ by, text, at }) =>
      `<li><p>${escape(text)}</p><footer>${escape(by)}, <time datetime="${at}">${at.slice(0, 10)}</time></footer></li>`,
  )
  return `<ul>${items.join('')}</ul>`
}

module.exports = { page, form: (name) => FORMS[name], entryList }
