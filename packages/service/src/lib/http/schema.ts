import { answerInvalid } from '../errors.ts'
import { problem } from './problem.ts'
import { Reply } from './reply.ts'
import type { Route } from './router.ts'

/**
 * The part of the Standard Schema specification (version 1, standardschema.dev) that is used here. Schemas of zod,
 * valibot, arktype and others have this shape.
 */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }

export interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What a schema turns valid input into. */
export type SchemaOutput<Schema> = Schema extends StandardSchema<infer Output> ? Output : never

type Place = 'params' | 'query' | 'headers' | 'body'

/** One thing that is wrong with a request: where (`in`, RFC 6901 `pointer`) and why. A member of the problem's `errors`. */
export interface InputError {
  readonly in: Place
  readonly pointer: string
  readonly detail: string
}

/** Beyond this many the caller is told no more: a list of a million wrong items is no answer. */
const errorLimit = 100

/** Holds the parts of a request against their schemas, and tells of everything that is wrong in one answer. */
export class InputCheck {
  readonly #errors: InputError[] = []
  #pending: Promise<void>[] | undefined

  /** `take` is given what the schema returns. */
  add(place: Place, schema: StandardSchema, value: unknown, take: (value: unknown) => unknown): void {
    const result = schema['~standard'].validate(value)
    if (result instanceof Promise) (this.#pending ??= []).push(result.then((late) => this.#note(place, late, take)))
    else this.#note(place, result, take)
  }

  /**
   * Undefined, or a promise when a schema takes its time.
   *
   * @throws {HttpError} 422 when only the body is wrong, else 400.
   */
  end(): Promise<void> | undefined {
    if (this.#pending !== undefined) return Promise.all(this.#pending).then(() => this.#refuse())
    this.#refuse()
    return undefined
  }

  #note(place: Place, result: StandardResult<unknown>, take: (value: unknown) => unknown): void {
    if (result.issues === undefined) {
      take(result.value)
      return
    }
    for (const { message, path } of result.issues) {
      if (this.#errors.length >= errorLimit) return
      this.#errors.push({ in: place, pointer: renderPointer(path ?? []), detail: message })
    }
  }

  #refuse(): void {
    if (this.#errors.length === 0) return
    const places = new Set(this.#errors.map((error) => error.in))
    const named = ['params', 'query', 'headers', 'body'].filter((place) => places.has(place as Place))
    const words = named.map((place) => (place === 'params' ? 'path' : place))
    const verb = words.length > 1 || words[0] === 'headers' ? 'are' : 'is'
    throw problem(
      named.length === 1 && named[0] === 'body' ? 422 : 400,
      `The ${words.join(', ')} of the request ${verb} not as expected`,
      { errors: this.#errors },
    )
  }
}

/**
 * Returns the answer as it is. Only what is written as JSON is looked at, not a `Response`, bytes or a stream.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_ANSWER`
 */
export async function checkAnswer(route: Route, answer: unknown): Promise<unknown> {
  const [status, body] =
    answer instanceof Reply ? [answer.status, answer.body] : [answer === undefined ? 204 : 200, answer]
  const schema = responseSchema(route.schemas.response, status)
  if (schema === undefined || isOpaque(body)) return answer
  // As the caller will see it: a Date is a string by then, a member that is undefined is not there.
  const written: unknown = body === undefined ? undefined : JSON.parse(JSON.stringify(body) ?? 'null')
  const { issues } = await schema['~standard'].validate(written)
  if (issues === undefined) return answer
  const told = issues.slice(0, 5).map(({ message, path }) => `${renderPointer(path ?? []) || '/'}: ${message}`)
  throw answerInvalid(`${route.method} ${route.template}`, status, told.join('; '))
}

/** One schema is that of the answers which are no errors; a table has one per status. */
function responseSchema(
  response: StandardSchema | Readonly<Record<number, StandardSchema>> | undefined,
  status: number,
): StandardSchema | undefined {
  if (response === undefined) return undefined
  if (!isSchema(response)) return response[status]
  return status >= 200 && status < 300 ? response : undefined
}

/** Schemas of arktype are functions. */
export function isSchema(value: unknown): value is StandardSchema {
  return ((typeof value === 'object' && value !== null) || typeof value === 'function') && '~standard' in value
}

function isOpaque(body: unknown): boolean {
  return body instanceof Response || body instanceof Uint8Array || body instanceof ReadableStream
}

/** RFC 6901. */
function renderPointer(path: NonNullable<StandardIssue['path']>): string {
  return path
    .map((step) => String(typeof step === 'object' ? step.key : step))
    .map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
}
