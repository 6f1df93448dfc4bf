import { html } from '@fairlead/service'
import { assetUrl } from '../assets.ts'
import { countItems } from '../cart.ts'
import type { Cart } from '../cart.ts'
import { markup } from '../markup.ts'
import type { Content, Markup } from '../markup.ts'

export interface PageOptions {
  readonly title: string
  readonly cart: Cart
  /** What is in the search field. */
  readonly search?: string | undefined
  readonly current?: 'products' | 'orders' | 'cart' | undefined
  /** Default 200. */
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

const security = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
}

/** A whole page around `main`. */
export function page(main: Markup, options: PageOptions): unknown {
  const text = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${options.title} · Harbour Supply</title>
<link rel="icon" href="${assetUrl('logo.svg')}" type="image/svg+xml">
<link rel="stylesheet" href="${assetUrl('style.css')}">
<script src="${assetUrl('shop.js')}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
  <div class="bar">
    <a class="brand" href="/"><img src="${assetUrl('logo.svg')}" alt="" width="36" height="36"><span>Harbour Supply</span></a>
    <form class="search" action="/" role="search">
      <input type="search" name="search" value="${options.search}" placeholder="Search ropes, lamps, charts…" aria-label="Search products" maxlength="100">
      <button type="submit">Search</button>
    </form>
    <nav aria-label="Main">
      ${navLink('/', 'Products', options.current === 'products')}
      ${navLink('/orders', 'Orders', options.current === 'orders')}
      ${navLink('/cart', markup`Cart${cartBadge(options.cart)}`, options.current === 'cart')}
    </nav>
  </div>
</header>
<main id="main">${main}</main>
<footer><p>Harbour Supply sells nothing: it is the example shop of Fairlead. Three services, one command.</p></footer>
</body>
</html>
`
  return html(text.text, { status: options.status, headers: { ...security, ...options.headers } })
}

/** The drawing of a product, coloured by its category. */
export function picture(product: { readonly picture: string; readonly category: string }): Markup {
  const tint = product.category.toLowerCase()
  return markup`<span class="picture tint-${tint}"><svg viewBox="0 0 64 64" aria-hidden="true"><use href="${assetUrl('pictures.svg')}#${product.picture}"></use></svg></span>`
}

const euros = new Intl.NumberFormat('en-IE', { style: 'currency', currency: 'EUR' })

export function price(cents: number): string {
  return euros.format(cents / 100)
}

function navLink(href: string, text: Content, isCurrent: boolean): Markup {
  return markup`<a href="${href}"${isCurrent && markup` aria-current="page"`}>${text}</a>`
}

function cartBadge(cart: Cart): Markup | undefined {
  const count = countItems(cart)
  return count === 0 ? undefined : markup`<span class="badge" aria-label="${count} items">${count}</span>`
}
