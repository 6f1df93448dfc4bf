import type { APIServiceSpec } from '@fairlead/kube/types/apiregistration-v1'

import type { ServiceResolver } from '../admission/webhooks/service-address.ts'
import type { ApiRequest, ApiResponse, Identity } from '../exchange.ts'
import { forwardRequest } from '../proxy/serve.ts'
import type { ProxyTarget } from '../proxy/target.ts'
import { StatusError, unavailable } from '../status.ts'

/** What this server proves itself with to the servers behind it: they believe it who asks. */
export interface FrontProxy {
  /** PEM of the client certificate and its key. */
  readonly certificate: string
  readonly key: string
  /** PEM of the authority that signed it. */
  readonly ca: string
  /** PEM of the authority of client certificates, which servers behind this one believe as well. Default: none. */
  readonly clientCa?: string | undefined
}

/** Where the server of an APIService is; throws 503 when it is nowhere. */
export function targetOf(
  spec: APIServiceSpec,
  resolve: ServiceResolver,
  frontProxy: FrontProxy | undefined,
): ProxyTarget {
  const { service, caBundle = '', insecureSkipTLSVerify = false } = spec
  const { namespace = '', name = '', port = 443 } = service ?? {}
  try {
    const place = resolve(namespace, name, port)
    return {
      scheme: 'https',
      ...place,
      tls: {
        servername: `${name}.${namespace}.svc`,
        rejectUnauthorized: !insecureSkipTLSVerify,
        ...(caBundle === '' ? {} : { ca: Buffer.from(caBundle, 'base64').toString('utf8') }),
        ...(frontProxy === undefined ? {} : { cert: frontProxy.certificate, key: frontProxy.key }),
      },
    }
  } catch (error) {
    if (error instanceof StatusError) throw unavailable('service unavailable')
    throw error
  }
}

/** Passes a request on as it is, telling who asks. */
export async function forwardAs(request: ApiRequest, target: ProxyTarget): Promise<ApiResponse> {
  const query = request.query.size === 0 ? '' : `?${request.query.toString()}`
  const path = `${encodeURI(request.path)}${query}`
  return await forwardRequest(request, path, '', { ...target, headers: identityHeaders(request.identity) })
}

function identityHeaders({ user, uid = '', groups, extra = {} }: Identity): Record<string, string | string[]> {
  return {
    'x-remote-user': user,
    'x-remote-group': [...groups],
    ...(uid === '' ? {} : { 'x-remote-uid': uid }),
    ...Object.fromEntries(
      Object.entries(extra).map(([key, values]) => [
        `x-remote-extra-${encodeURIComponent(key).toLowerCase()}`,
        [...values],
      ]),
    ),
  }
}
