import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../lifecycle/resource.ts'
import { createCaller } from './call.ts'
import type { Answer, Caller } from './call.ts'
import type { DriverOptions, SecretDriver, SecretReading } from './driver.ts'
import { ProviderFault, quoteProvider } from './fault.ts'
import { createFileDriver } from './file.ts'
import { isRecord, parseJson, textAt } from './json.ts'
import type { SecretReference } from './reference.ts'

/**
 * A Secret of Kubernetes by the API with the service account of the pod: `k8s://shop/db#password`, or `k8s://db#password` in the pod's own
 * namespace. With `?mount=/etc/secrets/db` the mounted volume is read instead where it is there, which needs no permission.
 */
export function createKubernetesDriver({ env, timeoutMs }: DriverOptions): SecretDriver {
  const files = createFileDriver()
  let caller: { readonly ca: string; readonly caller: Caller } | undefined

  const openCaller = async (): Promise<Caller> => {
    const ca = await readAccountFile(env, 'ca.crt')
    if (caller?.ca !== ca) {
      caller?.caller.close()
      caller = { ca, caller: createCaller({ timeoutMs, env: {}, tls: { ca } }) }
    }
    return caller.caller
  }
  const readFromApi = async (reference: SecretReference, signal: AbortSignal): Promise<SecretReading> => {
    const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env
    if (!host)
      throw new ProviderFault(
        'unavailable',
        'this process is not in a pod: KUBERNETES_SERVICE_HOST is not set',
        'Outside of a cluster, name a file:// or env:// reference instead',
      )
    const { namespace, name } = await splitName(env, reference)
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(name)}`
    const url = new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}${path}`)
    // The kubelet renews the token within its hour: it is read for each request.
    const token = (await readAccountFile(env, 'token')).trim()
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json' }
    const answer = await (await openCaller()).call({ url, headers, signal })
    if (answer.status !== 200) throw toFault(answer, namespace, name)
    const object = parseJson(answer.body)
    const data = object?.['data'] ?? {}
    if (!isRecord(data) || textAt(object, 'metadata', 'name') === undefined)
      throw new ProviderFault(
        'unavailable',
        'its answer is not a Secret',
        'Check what KUBERNETES_SERVICE_HOST points to',
      )
    const value = Object.fromEntries(
      Object.entries(data).map(([key, text]) => [key, Buffer.from(String(text), 'base64')]),
    )
    return { value, version: textAt(object, 'metadata', 'resourceVersion') }
  }
  /** The same secret as a file driver sees it; undefined where no mount is named. */
  const mounted = (reference: SecretReference): SecretReference | undefined => {
    const mount = reference.options['mount']
    return mount === undefined ? undefined : { ...reference, name: mount, options: {} }
  }

  return {
    provider: 'Kubernetes',
    async read(reference, options) {
      const file = mounted(reference)
      if (file === undefined) return await readFromApi(reference, options.signal)
      if (file.field === undefined)
        throw new ProviderFault(
          'absent',
          'it names a mount and no key',
          'Name the key, which is a file there, after "#"',
        )
      try {
        return await files.read(file, options)
      } catch (error) {
        if (error instanceof ProviderFault && error.kind === 'absent' && env['KUBERNETES_SERVICE_HOST'])
          return await readFromApi(reference, options.signal)
        throw error
      }
    },
    watch(reference, changed) {
      const file = mounted(reference)
      return (file && files.watch?.(file, changed)) ?? (() => {})
    },
    close: () => caller?.caller.close(),
  }
}

async function splitName(
  env: Environment,
  { name }: SecretReference,
): Promise<{ readonly namespace: string; readonly name: string }> {
  const [first = '', second, ...more] = name.split('/')
  if (more.length > 0 || first === '' || second === '')
    throw new ProviderFault('absent', 'its name is not "namespace/name"', 'Write k8s://namespace/name#key')
  if (second !== undefined) return { namespace: first, name: second }
  return { namespace: (await readAccountFile(env, 'namespace')).trim(), name: first }
}

/** A file of the pod's service account: `token`, `ca.crt` or `namespace`. SERVICE_ACCOUNT_DIR names another folder. */
export async function readAccountFile(env: Environment, file: 'token' | 'ca.crt' | 'namespace'): Promise<string> {
  const path = join(env['SERVICE_ACCOUNT_DIR'] || '/var/run/secrets/kubernetes.io/serviceaccount', file)
  try {
    return await readFile(path, 'utf8')
  } catch {
    throw new ProviderFault(
      'denied',
      `the service account has no ${JSON.stringify(path)}`,
      'Let the pod mount its service account token (automountServiceAccountToken)',
    )
  }
}

function toFault(answer: Answer, namespace: string, name: string): ProviderFault {
  const message = quoteProvider(textAt(parseJson(answer.body), 'message'), answer)
  const state = `${answer.status}${message ? `: ${message}` : ''}`
  if (answer.status === 404)
    return new ProviderFault(
      'absent',
      state,
      `Create Secret ${JSON.stringify(name)} in namespace ${JSON.stringify(namespace)}`,
    )
  if (answer.status === 401 || answer.status === 403) {
    const hint = `Bind a Role to the service account that allows "get" on secrets with resourceNames [${JSON.stringify(name)}]`
    return new ProviderFault('denied', state, hint)
  }
  return new ProviderFault('unavailable', state, 'Look at the API server of the cluster')
}
