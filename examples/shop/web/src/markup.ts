/** HTML that is safe to put into a page: made by {@link markup} only. */
export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  toString(): string {
    return this.text
  }
}

/** What can be put into a page. */
export type Content = Markup | string | number | false | null | undefined | readonly Content[]

/**
 * A piece of a page. Values are escaped unless they are markup themselves; lists are joined; null, undefined and false
 * are nothing. Attributes are written in double quotes.
 */
export function markup(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  let text = parts[0] ?? ''
  for (const [index, value] of values.entries()) text += renderValue(value) + (parts[index + 1] ?? '')
  return new Markup(text)
}

function renderValue(value: Content): string {
  if (value instanceof Markup) return value.text
  if (isList(value)) return value.map(renderValue).join('')
  if (value === null || value === undefined || value === false) return ''
  return escape(String(value))
}

/** `Array.isArray` does not narrow a readonly array. */
function isList(value: Content): value is readonly Content[] {
  return Array.isArray(value)
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
