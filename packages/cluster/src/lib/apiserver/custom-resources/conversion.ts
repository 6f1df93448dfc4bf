import { parseExactJson, renderExactJson } from '@fairlead/kube/codec'
import { randomUUID } from 'node:crypto'
import { request } from 'node:https'

import type { KubeObject } from '@fairlead/kube/types'
import type { CustomResourceDefinition, WebhookClientConfig } from '@fairlead/kube/types/apiextensions-v1'

import { internalError } from '../status.ts'
import { isObject } from './schema.ts'
import type { Converter } from './stored-form.ts'

/** Address at which a service of the cluster is reached from here. */
export type ServiceResolver = (
  namespace: string,
  name: string,
  port: number,
) => Promise<{ readonly host: string; readonly port: number }>

const deadlineMs = 30_000
const answerLimitBytes = 64 << 20

/** What changes the objects of a definition from one of its versions to another. */
export function createConverter(
  definition: CustomResourceDefinition,
  resolveService: ServiceResolver | undefined,
): Converter {
  const { conversion } = definition.spec
  const config = conversion?.webhook?.clientConfig
  if (conversion?.strategy !== 'Webhook' || config === undefined) return { strategy: 'None' }
  const versions = conversion.webhook?.conversionReviewVersions ?? []
  const reviewVersion = versions.find((version) => version === 'v1' || version === 'v1beta1') ?? 'v1'
  return {
    strategy: 'Webhook',
    async convert(objects, apiVersion) {
      const kind = `${objects[0]?.apiVersion}, Kind=${objects[0]?.kind}`
      try {
        return await askWebhook(config, reviewVersion, resolveService, objects, apiVersion)
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        throw internalError(`conversion webhook for ${kind} failed: ${why}`)
      }
    },
  }
}

async function askWebhook(
  config: WebhookClientConfig,
  version: string,
  resolveService: ServiceResolver | undefined,
  objects: readonly KubeObject[],
  apiVersion: string,
): Promise<KubeObject[]> {
  const uid: string = randomUUID()
  const review = {
    kind: 'ConversionReview',
    apiVersion: `apiextensions.k8s.io/${version}`,
    request: { uid, desiredAPIVersion: apiVersion, objects },
  }
  const answer = await post(await targetOf(config, resolveService), renderExactJson(review))
  const converted = readAnswer(answer, review.apiVersion, uid, version)
  if (converted.length !== objects.length) {
    throw new Error(`returned ${converted.length} objects, expected ${objects.length}`)
  }
  return converted.map((object, index) => checkConverted(object, objects[index], apiVersion, index))
}

interface Target {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly serverName: string
  readonly ca: string | undefined
}

async function targetOf(config: WebhookClientConfig, resolveService: ServiceResolver | undefined): Promise<Target> {
  const bundle = config.caBundle === undefined ? '' : Buffer.from(config.caBundle, 'base64').toString('utf8')
  const ca = bundle.trim() === '' ? undefined : bundle
  if (config.url !== undefined) {
    const { hostname, port, pathname } = new URL(config.url)
    const host = hostname.replaceAll(/^\[|\]$/g, '')
    return { host, port: Number(port === '' ? 443 : port), path: pathname, serverName: host, ca }
  }
  const { namespace = '', name = '', port = 443, path = '/' } = config.service ?? {}
  const serverName = `${name}.${namespace}.svc`
  if (resolveService === undefined) throw new Error(`service "${serverName}" cannot be reached from this server`)
  return { ...(await resolveService(namespace, name, port)), path, serverName, ca }
}

/** One request with a deadline for all of it; the answer as JSON. */
async function post({ host, port, path, serverName, ca }: Target, body: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    'content-length': Buffer.byteLength(body),
  }
  const signal = AbortSignal.timeout(deadlineMs)
  const call = request({ host, port, path, method: 'POST', servername: serverName, ca, headers, signal, agent: false })
  call.on('error', (error) => reject(signal.aborted ? new Error(`no answer within ${deadlineMs / 1000}s`) : error))
  call.on('response', (response) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > answerLimitBytes) call.destroy(new Error(`the answer is larger than ${answerLimitBytes} bytes`))
    })
    response.on('error', reject)
    response.on('end', () => {
      try {
        if (response.statusCode !== 200) throw new Error(`the server answered ${response.statusCode}`)
        resolve(parseExactJson(Buffer.concat(chunks).toString('utf8')))
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)))
      }
    })
  })
  call.end(body)
  return await promise
}

function readAnswer(answer: unknown, apiVersion: string, uid: string, version: string): unknown[] {
  if (!isObject(answer)) throw new Error('no response provided')
  // The older version of the review checks neither its kind nor its uid.
  if (version === 'v1' && (answer['kind'] !== 'ConversionReview' || answer['apiVersion'] !== apiVersion)) {
    const found = `${String(answer['apiVersion'])}, Kind=${String(answer['kind'])}`
    throw new Error(`expected webhook response of ${apiVersion}, Kind=ConversionReview, got ${found}`)
  }
  const { response } = answer
  if (!isObject(response)) throw new Error('no response provided')
  if (version === 'v1' && response['uid'] !== uid) {
    throw new Error(`expected response.uid="${uid}", got ${JSON.stringify(response['uid'] ?? '')}`)
  }
  const result = isObject(response['result']) ? response['result'] : {}
  if (result['status'] !== 'Success') {
    const message = typeof result['message'] === 'string' ? result['message'] : ''
    const status = typeof result['status'] === 'string' ? result['status'] : ''
    throw new Error(message === '' ? `response.result.status was '${status}', not 'Success'` : message)
  }
  return Array.isArray(response['convertedObjects']) ? (response['convertedObjects'] as unknown[]) : []
}

/** A webhook changes what is in an object, not which object it is. */
function checkConverted(
  value: unknown,
  original: KubeObject | undefined,
  apiVersion: string,
  index: number,
): KubeObject {
  const wrong = (why: string): Error => new Error(`returned invalid converted object at index ${index}: ${why}`)
  if (!isObject(value) || !isObject(value['metadata'])) throw wrong('not an object')
  const object = value as KubeObject
  if (object.apiVersion !== apiVersion) {
    throw wrong(`invalid groupVersion (expected ${apiVersion}, received ${object.apiVersion})`)
  }
  if (object.kind !== original?.kind) throw wrong(`invalid kind (expected ${original?.kind}, received ${object.kind})`)
  for (const key of ['name', 'namespace', 'uid'] as const) {
    if (object.metadata[key] !== original.metadata[key]) throw wrong(`invalid metadata: ${key} must not be changed`)
  }
  const { labels, annotations } = object.metadata
  return { ...object, metadata: { ...original.metadata, labels, annotations } }
}
