import type { Product, ProductPage } from '../backends.ts'
import { maxQuantity } from '../cart.ts'
import { markup } from '../markup.ts'
import type { Markup } from '../markup.ts'
import { picture, price } from './layout.ts'

export interface ListView {
  readonly search: string
  readonly category: string
  readonly categories: readonly string[]
  readonly products: ProductPage
}

export function productListMain(view: ListView): Markup {
  const { products, search, category } = view
  return markup`
${search === '' && category === '' && products.page === 1 && hero()}
<div class="listing">
  <nav class="chips" aria-label="Categories">
    ${chip('All', '', view)}
    ${view.categories.map((name) => chip(name, name, view))}
  </nav>
  <p class="count" role="status">${describeCount(products.total, search)}</p>
</div>
${products.items.length === 0 ? nothingFound() : markup`<ul class="grid">${products.items.map(card)}</ul>`}
${pager(view)}`
}

export function productMain(product: Product): Markup {
  return markup`
<p class="crumbs"><a href="/">Products</a> <span aria-hidden="true">›</span> <a href="/?category=${encodeURIComponent(product.category)}">${product.category}</a></p>
<article class="detail">
  ${picture(product)}
  <div>
    <h1>${product.name}</h1>
    <p class="lead">${product.description}</p>
    <p class="price big">${price(product.priceCents)}</p>
    ${stockNote(product.stock)}
    ${product.stock > 0 && addForm(product)}
    <p class="fine">SKU ${product.sku}</p>
  </div>
</article>`
}

function stockNote(stock: number): Markup {
  if (stock === 0) return markup`<p class="stock none">Sold out</p>`
  return stock <= 6 ? markup`<p class="stock few">Only ${stock} left</p>` : markup`<p class="stock">In stock</p>`
}

function hero(): Markup {
  return markup`<section class="hero">
  <h1>Good gear, well stowed.</h1>
  <p>Everything for a small boat and a long season, from the anchor lantern to the enamel mug.</p>
</section>`
}

function card(product: Product): Markup {
  return markup`<li class="card">
  <a href="/products/${product.sku}">
    ${picture(product)}
    <h2>${product.name}</h2>
  </a>
  <p class="row"><span class="price">${price(product.priceCents)}</span></p>
  ${stockNote(product.stock)}
</li>`
}

function addForm(product: Product): Markup {
  return markup`<form class="add" method="post" action="/cart">
  <input type="hidden" name="sku" value="${product.sku}">
  <label>Quantity <input type="number" name="add" value="1" min="1" max="${Math.min(product.stock, maxQuantity)}" required></label>
  <button class="primary" type="submit">Put in cart</button>
</form>`
}

function chip(label: string, category: string, view: ListView): Markup {
  const query = new URLSearchParams()
  if (view.search !== '') query.set('search', view.search)
  if (category !== '') query.set('category', category)
  return markup`<a class="chip" href="/?${query.toString()}"${category === view.category && markup` aria-current="true"`}>${label}</a>`
}

function describeCount(total: number, search: string): string {
  const products = total === 1 ? '1 product' : `${total} products`
  return search === '' ? products : `${products} for “${search}”`
}

function nothingFound(): Markup {
  return markup`<section class="empty"><h1>Nothing found</h1><p>Try another word, or look at <a href="/">everything</a>.</p></section>`
}

function pager({ products, search, category }: ListView): Markup | undefined {
  const last = Math.ceil(products.total / products.pageSize)
  if (last <= 1) return undefined
  const link = (to: number, label: string, rel: string): Markup => {
    const query = new URLSearchParams({ search, category, page: String(to) })
    return to < 1 || to > last
      ? markup`<span class="button off">${label}</span>`
      : markup`<a class="button" rel="${rel}" href="/?${query.toString()}">${label}</a>`
  }
  return markup`<nav class="pager" aria-label="Pages">${link(products.page - 1, 'Previous', 'prev')}<span>Page ${products.page} of ${last}</span>${link(products.page + 1, 'Next', 'next')}</nav>`
}
