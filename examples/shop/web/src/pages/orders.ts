import type { Order, OrderPage } from '../backends.ts'
import { markup } from '../markup.ts'
import type { Markup } from '../markup.ts'
import { price } from './layout.ts'

export function orderMain(order: Order, isNew: boolean): Markup {
  return markup`
${isNew && markup`<p class="notice good" role="status">Thank you, ${order.customer.name}. Your order is in.</p>`}
<h1>Order <code>${shortId(order)}</code></h1>
<p class="fine">${when(order)} · ${order.status}</p>
<div class="two">
  <section>
    <table>
      <thead><tr><th scope="col">Product</th><th scope="col" class="number">Quantity</th><th scope="col" class="number">Price</th></tr></thead>
      <tbody>${order.lines.map(
        ({ sku, name, quantity, priceCents }) =>
          markup`<tr><td><a href="/products/${sku}">${name}</a></td><td class="number">${quantity}</td><td class="number">${price(quantity * priceCents)}</td></tr>`,
      )}</tbody>
      <tfoot><tr><th scope="row" colspan="2">Total</th><td class="number price">${price(order.totalCents)}</td></tr></tfoot>
    </table>
  </section>
  <section class="panel" aria-labelledby="to">
    <h2 id="to">Delivered to</h2>
    <address>${order.customer.name}<br>${order.customer.address}<br>${order.customer.email}</address>
  </section>
</div>`
}

export function orderListMain(orders: OrderPage): Markup {
  if (orders.items.length === 0) {
    return markup`<section class="empty"><h1>No orders yet</h1><p>The first one is only <a href="/">a few clicks</a> away.</p></section>`
  }
  return markup`
<h1>Orders</h1>
<table>
  <thead><tr><th scope="col">Order</th><th scope="col">Placed</th><th scope="col">By</th><th scope="col" class="number">Items</th><th scope="col" class="number">Total</th></tr></thead>
  <tbody>${orders.items.map(
    (order) =>
      markup`<tr><td><a href="/orders/${order.id}"><code>${shortId(order)}</code></a></td><td>${when(order)}</td><td>${order.customer.name}</td><td class="number">${countItems(order)}</td><td class="number">${price(order.totalCents)}</td></tr>`,
  )}</tbody>
</table>`
}

function shortId(order: Order): string {
  return order.id.slice(0, 8)
}

function when(order: Order): Markup {
  return markup`<time datetime="${order.createdAt}">${order.createdAt.slice(0, 16).replace('T', ' ')}</time>`
}

function countItems(order: Order): number {
  return order.lines.reduce((sum, { quantity }) => sum + quantity, 0)
}
