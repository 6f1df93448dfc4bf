import { createInformer } from '@fairlead/kube/cache'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { Secret, ServiceAccount } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from './context.ts'
import { ignoreNotFound } from './write.ts'

/** What a token that lies in a secret says. */
export interface SecretToken {
  readonly namespace: string
  readonly secretName: string
  readonly accountName: string
  readonly accountUid: string
}

export interface TokenSecretOptions {
  readonly caCertificate: string
  /** Signs a token without an end; it is good as long as the secret and the account are there. */
  readonly sign: (token: SecretToken) => string
}

const type = 'kubernetes.io/service-account-token'
const nameAnnotation = 'kubernetes.io/service-account.name'
const uidAnnotation = 'kubernetes.io/service-account.uid'

/**
 * Fills Secrets of the type `kubernetes.io/service-account-token` with a token of the account they name, and deletes
 * those whose account is gone or another one.
 */
export function runTokenSecretController(context: ControllerContext, options: TokenSecretOptions): Promise<void> {
  const { client, signal, onError, clock } = context
  const common = { signal, clock, onError: (error: unknown) => onError(error, { controller: 'informer' }) }
  const resource = client.resource('v1/Secret')
  const secrets = createInformer(resource, { ...common, fieldSelector: `type=${type}` })
  const accounts = createInformer(client.resource('v1/ServiceAccount'), common)

  return runController({
    name: 'token-secret',
    sources: [
      fromInformer(secrets, (secret, event) => (event === 'delete' ? [] : [keyOf(secret)])),
      fromInformer(accounts, (account) =>
        secrets
          .list(account.metadata?.namespace)
          .filter(namesAccount(account))
          .map((secret) => keyOf(secret)),
      ),
    ],
    async reconcile(key) {
      const { namespace = '', name } = parseKey(key)
      const secret = secrets.get(namespace, name)
      if (secret === undefined) return
      const accountName = secret.metadata?.annotations?.[nameAnnotation] ?? ''
      // Asked anew: a secret is not deleted because a cache is behind.
      const account = await ignoreNotFound(client.resource('v1/ServiceAccount').get(accountName, { namespace }))
      const step = decideTokenSecret(secret, account)
      if (step === 'delete') {
        await ignoreNotFound(resource.delete(name, { namespace, uid: secret.metadata?.uid }))
      } else if (step === 'fill') {
        await ignoreNotFound(resource.update(fillSecret(secret, account?.metadata?.uid ?? '', options)))
      }
    },
    signal,
    onError,
  })
}

/** What is to be done with a token secret, given the account it names. */
export function decideTokenSecret(secret: Secret, account: ServiceAccount | undefined): 'delete' | 'fill' | 'keep' {
  const asked = secret.metadata?.annotations?.[uidAnnotation] ?? ''
  const uid = account?.metadata?.uid
  if (uid === undefined || (asked !== '' && asked !== uid)) return 'delete'
  const { data = {} } = secret
  const isWhole = ['token', 'ca.crt', 'namespace'].every((key) => (data[key] ?? '') !== '')
  return isWhole && asked !== '' ? 'keep' : 'fill'
}

function fillSecret(secret: Secret, accountUid: string, { caCertificate, sign }: TokenSecretOptions): Secret {
  const { name: secretName = '', namespace = '', annotations = {} } = secret.metadata ?? {}
  const accountName = annotations[nameAnnotation] ?? ''
  const encode = (text: string): string => Buffer.from(text).toString('base64')
  const token = secret.data?.['token'] || encode(sign({ namespace, secretName, accountName, accountUid }))
  return {
    ...secret,
    metadata: { ...secret.metadata, annotations: { ...annotations, [uidAnnotation]: accountUid } },
    data: { ...secret.data, token, 'ca.crt': encode(caCertificate), namespace: encode(namespace) },
  }
}

function namesAccount(account: ServiceAccount): (secret: Secret) => boolean {
  const { name } = account.metadata ?? {}
  return ({ metadata }) => metadata?.annotations?.[nameAnnotation] === name
}
