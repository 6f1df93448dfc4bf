/** The errors of types, codec and patches; those of the client are in `client/errors.ts`. */

interface Coded {
  readonly code: string
  readonly hint: string
}

const patchHint = 'Correct the patch; its format is given by the content type it is sent with'

/**
 * The patch is not one (wrong shape, a directive that is none) or cannot be merged, whatever the document; `message` is the
 * API server's own, which clients show.
 */
export function malformedPatch(message: string): TypeError & Coded {
  return Object.assign(new TypeError(message), { code: 'FAIRLEAD_KUBE_PATCH', hint: patchHint })
}

/** The patch is well-formed, but the document has not what it speaks of; `message` is the API server's own. */
export function unappliablePatch(message: string): RangeError & Coded {
  return Object.assign(new RangeError(message), {
    code: 'FAIRLEAD_KUBE_PATCH',
    hint: 'Read the object again and make the patch for what it holds now',
  })
}

/** A manifest that is no YAML, no JSON, or no Kubernetes object. `place` is `file:line` as far as known. */
export function manifestSyntax(place: string, state: string, cause?: unknown): SyntaxError & Coded {
  const error = new SyntaxError(`Cannot parse manifest "${place}": ${state}`, cause === undefined ? {} : { cause })
  return Object.assign(error, {
    code: 'FAIRLEAD_KUBE_MANIFEST',
    hint: 'Correct the manifest at the place named',
  })
}

/** A protobuf body that is damaged or of a kind the type table does not hold. */
export function protobufSyntax(subject: string, state: string): SyntaxError & Coded {
  return Object.assign(new SyntaxError(`Cannot decode protobuf ${subject}: ${state}`), {
    code: 'FAIRLEAD_KUBE_PROTOBUF',
    hint: 'Send the object as application/json',
  })
}

/** A value that has no protobuf form: of the wrong type for its field, or of a kind the type table does not hold. */
export function protobufValue(subject: string, state: string): TypeError & Coded {
  return Object.assign(new TypeError(`Cannot encode "${subject}" as protobuf: ${state}`), {
    code: 'FAIRLEAD_KUBE_PROTOBUF',
    hint: 'Correct the value, or use application/json',
  })
}
