/** Quantities by SKU, in the order in which they were put in. */
export type Cart = ReadonlyMap<string, number>

export const maxQuantity = 20
const maxLines = 30

/** Reads the cart from a `Cookie` header. Anything that does not look like a cart is an empty one. */
export function parseCart(header: string | null): Cart {
  const value = /(?:^|;\s*)cart=([^;]*)/.exec(header ?? '')?.[1] ?? ''
  const lines = value.split('.').flatMap((line) => {
    const [, sku, quantity] = /^([a-z0-9-]{1,50})~(\d{1,2})$/.exec(line) ?? []
    return sku === undefined || Number(quantity) === 0 ? [] : [[sku, Math.min(Number(quantity), maxQuantity)] as const]
  })
  return new Map(lines.slice(0, maxLines))
}

/** A `Set-Cookie` header that keeps the cart for 30 days, out of reach of scripts and of other sites' forms. */
export function renderCart(cart: Cart): string {
  const value = cart
    .entries()
    .map(([sku, quantity]) => `${sku}~${quantity}`)
    .toArray()
    .join('.')
  return `cart=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${value === '' ? 0 : 30 * 24 * 3600}`
}

/** The cart with this many of a product; none takes it out. */
export function setQuantity(cart: Cart, sku: string, quantity: number): Cart {
  const changed = new Map(cart)
  if (quantity <= 0) changed.delete(sku)
  else if (changed.has(sku) || changed.size < maxLines) changed.set(sku, Math.min(quantity, maxQuantity))
  return changed
}

export function countItems(cart: Cart): number {
  return cart.values().reduce((sum, quantity) => sum + quantity, 0)
}
