import { readFile } from 'node:fs/promises'
import type { Environment } from '../lifecycle/resource.ts'
import { createApi } from './api.ts'
import type { Api } from './api.ts'
import { targetInvalid } from './errors.ts'

export interface ConsulOptions {
  /** The agent. Default: CONSUL_HTTP_ADDR, else `http://127.0.0.1:8500`. */
  readonly address?: string | undefined
  /** An ACL token. Default: the content of CONSUL_HTTP_TOKEN_FILE, read for each request, else CONSUL_HTTP_TOKEN. */
  readonly token?: string | undefined
  /** PEM of the authority of the agent's certificate. Default: the file of CONSUL_CACERT, else the usual ones. */
  readonly ca?: string | undefined
  /** Default `process.env`. */
  readonly env?: Environment | undefined
}

/** An agent of Consul. */
export interface ConsulAgent {
  url(path: string, query?: Readonly<Record<string, string | readonly string[] | undefined>>): URL
  headers(): Promise<Record<string, string>>
  /** Opened when first used. */
  api(): Promise<Api>
  close(): void
}

export function openConsulAgent(options: ConsulOptions = {}): ConsulAgent {
  const env = options.env ?? process.env
  const base = baseOf(options.address ?? env['CONSUL_HTTP_ADDR'], env['CONSUL_HTTP_SSL'])
  let api: Promise<Api> | undefined
  let isClosed = false
  const open = async (): Promise<Api> => {
    const file = env['CONSUL_CACERT']
    const ca = options.ca ?? (file ? await readFile(file, 'utf8') : undefined)
    const opened = createApi(ca === undefined ? {} : { ca })
    if (isClosed) opened.close()
    return opened
  }
  return {
    url(path, query = {}) {
      const url = new URL(`/v1/${path}`, base)
      for (const [key, value] of Object.entries(query))
        for (const one of typeof value === 'string' ? [value] : (value ?? [])) url.searchParams.append(key, one)
      return url
    },
    async headers() {
      const file = env['CONSUL_HTTP_TOKEN_FILE']
      const token = options.token ?? (file ? (await readFile(file, 'utf8')).trim() : env['CONSUL_HTTP_TOKEN'])
      return token ? { 'x-consul-token': token } : {}
    },
    api() {
      if (api === undefined) {
        const opening = open()
        // A file that could not be read may be there the next time.
        opening.catch(() => {
          api = undefined
        })
        api = opening
      }
      return api
    },
    close() {
      isClosed = true
      void api?.then((opened) => opened.close()).catch(() => {})
    },
  }
}

/** Consul's own clients take the address with or without a scheme. */
function baseOf(address: string | undefined, ssl: string | undefined): URL {
  const text = address || '127.0.0.1:8500'
  const full = text.includes('://') ? text : `${/^(1|true)$/i.test(ssl ?? '') ? 'https' : 'http'}://${text}`
  if (!URL.canParse(full) || !/^https?:/.test(full))
    throw targetInvalid(text, 'the address of the Consul agent is not a URL')
  return new URL(full)
}
