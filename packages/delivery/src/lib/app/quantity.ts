const factors: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

/** Number meant by a Kubernetes quantity such as `250m` or `256Mi`; `undefined` when `text` is none. */
export function parseQuantity(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text)
  const factor = factors[match?.[2] ?? '']
  return match && factor !== undefined ? Number(match[1]) * factor : undefined
}

/** The greater of two quantities, spelled as given. */
export function maxQuantity(a: string, b: string): string {
  return (parseQuantity(a) ?? 0) >= (parseQuantity(b) ?? 0) ? a : b
}
