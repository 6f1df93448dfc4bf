import { problem } from './problem.ts'

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

/**
 * The value as the schema returns it.
 *
 * @throws {HttpError} with `status`, and the failures in the problem member `errors`: where (`in`, JSON pointer
 * `pointer`) and why (`detail`).
 */
export async function validate<Output>(
  schema: StandardSchema<Output>,
  value: unknown,
  place: 'params' | 'query' | 'body',
  status: 400 | 422,
): Promise<Output> {
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  const errors = result.issues.map(({ message, path }) => ({
    in: place,
    pointer: renderPointer(path ?? []),
    detail: message,
  }))
  throw problem(status, `The ${place === 'params' ? 'path' : place} of the request is not as expected`, { errors })
}

/** RFC 6901. */
function renderPointer(path: NonNullable<StandardIssue['path']>): string {
  return path
    .map((step) => String(typeof step === 'object' ? step.key : step))
    .map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
}
