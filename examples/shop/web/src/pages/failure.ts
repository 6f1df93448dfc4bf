import { CallError, HttpError } from '@fairlead/service'
import { markup } from '../markup.ts'
import type { Markup } from '../markup.ts'

export interface Failure {
  readonly status: number
  readonly title: string
  readonly text: string
}

/** What to tell a visitor about an error: what they can do, nothing of how the shop is built. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CallError && error.status === 404) return notFound
  if (error instanceof CallError) {
    return {
      status: 503,
      title: 'Becalmed',
      text: 'A part of the shop does not answer at the moment. Your cart is safe; please try again in a few seconds.',
    }
  }
  if (error instanceof HttpError && error.status === 404) return notFound
  if (error instanceof HttpError && error.status < 500) {
    return { status: error.status, title: 'That did not work', text: error.message }
  }
  return { status: 500, title: 'Man overboard', text: 'Something broke on our side. It has been written into the log.' }
}

export function failureMain({ title, text }: Failure, requestId: string): Markup {
  return markup`<section class="empty"><h1>${title}</h1><p>${text}</p><p><a class="button" href="/">To the products</a></p><p class="fine">Request ${requestId}</p></section>`
}

const notFound: Failure = {
  status: 404,
  title: 'Off the chart',
  text: 'There is nothing at this address. It may have been sold.',
}
