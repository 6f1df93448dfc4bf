/** The errors of the client side of this package; answers of the API server are KubeError (FAIRLEAD_KUBE_API). */

export interface CodedError extends Error {
  readonly code: string
  readonly hint?: string
}

interface Details {
  readonly code: string
  readonly hint?: string
  readonly cause?: unknown
}

function withCode(error: Error, { code, hint, cause }: Details): CodedError {
  return Object.assign(error, { code, ...(hint !== undefined && { hint }), ...(cause !== undefined && { cause }) })
}

/** The kubeconfig cannot be used: `file` names where, `state` the missing or wrong piece. */
export function kubeconfigInvalid(file: string, state: string, hint: string, cause?: unknown): CodedError {
  const message = `Cannot load kubeconfig "${file}": ${state}`
  return withCode(new TypeError(message), { code: 'FAIRLEAD_KUBE_KUBECONFIG', hint, cause })
}

/** A token file or exec plugin of the kubeconfig did not give credentials. */
export function credentialsUnavailable(user: string, state: string, hint: string, cause?: unknown): CodedError {
  const message = `Cannot get credentials of user "${user}": ${state}`
  return withCode(new Error(message), { code: 'FAIRLEAD_KUBE_CREDENTIALS', hint, cause })
}

/** No connection to the API server, or it broke before the answer was complete. */
export function connectFailed(server: string, state: string, hint: string, cause: unknown): CodedError {
  const message = `Cannot reach Kubernetes API "${server}": ${state}`
  return withCode(new Error(message), { code: 'FAIRLEAD_KUBE_CONNECT', hint, cause })
}

/** The API server did not answer within the deadline. */
export function deadlineExceeded(method: string, path: string, deadlineMs: number): CodedError {
  const message = `Cannot complete ${method} "${path}": no complete answer within ${deadlineMs} ms`
  const hint = 'Check that the cluster is healthy, then try again'
  return withCode(new Error(message), { code: 'FAIRLEAD_KUBE_DEADLINE', hint })
}

/** A watch without a sign of life: no event, no bookmark. */
export function streamIdle(method: string, path: string, idleMs: number): CodedError {
  const message = `Cannot complete ${method} "${path}": nothing received for ${idleMs} ms`
  const hint = 'Check what stands between this program and the cluster; informers connect again by themselves'
  return withCode(new Error(message), { code: 'FAIRLEAD_KUBE_DEADLINE', hint })
}

/** The API server does not serve the kind. */
export function kindUnknown(apiVersion: string, kind: string, cause?: unknown): CodedError {
  const message = `Cannot find kind "${kind}": the cluster does not serve it in ${apiVersion}`
  const hint = 'Install the CustomResourceDefinition first, or correct apiVersion and kind'
  return withCode(new TypeError(message), { code: 'FAIRLEAD_KUBE_KIND', hint, cause })
}

/** An object handed to the client lacks what its address is made of. */
export function objectIncomplete(kind: string, field: string): CodedError {
  const message = `Cannot address ${kind}: ${field} is missing`
  return withCode(new TypeError(message), { code: 'FAIRLEAD_KUBE_OBJECT', hint: `Set ${field} on the object` })
}

/** A watch body broke its framing. */
export function watchSyntax(state: string, cause?: unknown): CodedError {
  const message = `Cannot read watch: ${state}, expected one JSON event per line`
  const hint = 'Check for a proxy that alters the answers of the API server'
  return withCode(new SyntaxError(message), { code: 'FAIRLEAD_KUBE_WATCH', hint, cause })
}

/** A stream to a pod broke, or the pod refused it. */
export function streamBroken(state: string, cause?: unknown): CodedError {
  const hint = 'Check that the pod still runs, then try again'
  return withCode(new Error(`Cannot stream to pod: ${state}`), { code: 'FAIRLEAD_KUBE_STREAM', hint, cause })
}
