import type { Product } from '../backends.ts'
import { maxQuantity } from '../cart.ts'
import { markup } from '../markup.ts'
import type { Markup } from '../markup.ts'
import { picture, price } from './layout.ts'

export interface CartLine {
  readonly product: Product
  readonly quantity: number
}

interface CheckoutForm {
  readonly name: string
  readonly email: string
  readonly address: string
}

export interface CartView {
  readonly lines: readonly CartLine[]
  /** Makes two clicks on the button one order. */
  readonly key: string
  readonly form?: CheckoutForm | undefined
  /** What went wrong when it was tried. */
  readonly complaint?: string | undefined
}

export function cartMain({ lines, key, form, complaint }: CartView): Markup {
  if (lines.length === 0) {
    return markup`<section class="empty"><h1>Your cart is empty</h1><p>Time to look at <a href="/">what there is</a>.</p></section>`
  }
  return markup`
<h1>Your cart</h1>
${complaint !== undefined && markup`<p class="notice" role="alert">${complaint}</p>`}
<div class="two">
  <section aria-label="Products in the cart">
    <ul class="lines">${lines.map(cartLine)}</ul>
    <p class="total"><span>Total</span> <span class="price big">${price(totalCents(lines))}</span></p>
  </section>
  <section class="panel" aria-labelledby="checkout">
    <h2 id="checkout">Checkout</h2>
    <form method="post" action="/orders">
      <input type="hidden" name="key" value="${key}">
      ${lines.map(({ product, quantity }) => markup`<input type="hidden" name="line" value="${product.sku}~${quantity}~${product.priceCents}">`)}
      <label>Name <input name="name" value="${form?.name}" required maxlength="100" autocomplete="name"></label>
      <label>Email <input name="email" type="email" value="${form?.email}" required maxlength="200" autocomplete="email"></label>
      <label>Address <textarea name="address" rows="3" required maxlength="500" autocomplete="street-address">${form?.address}</textarea></label>
      <button class="primary" type="submit">Order for ${price(totalCents(lines))}</button>
    </form>
    <p class="fine">No payment is taken and nothing is shipped.</p>
  </section>
</div>`
}

function cartLine({ product, quantity }: CartLine): Markup {
  return markup`<li>
  ${picture(product)}
  <div><a href="/products/${product.sku}">${product.name}</a><span class="fine">${price(product.priceCents)} each</span>
  ${product.stock < quantity && markup`<span class="stock none">Only ${product.stock} in stock</span>`}</div>
  <form method="post" action="/cart" data-autosubmit>
    <input type="hidden" name="sku" value="${product.sku}">
    <input type="number" name="quantity" value="${quantity}" min="0" max="${maxQuantity}" aria-label="Quantity of ${product.name}">
    <button type="submit">Update</button>
  </form>
  <span class="price">${price(product.priceCents * quantity)}</span>
</li>`
}

function totalCents(lines: readonly CartLine[]): number {
  return lines.reduce((sum, { product, quantity }) => sum + product.priceCents * quantity, 0)
}
