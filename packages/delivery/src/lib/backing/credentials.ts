import { randomBytes } from 'node:crypto'
import { isAlreadyExists, isNotFound, type KubeClient } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'
import { ensureNamespace } from '../apply/namespaces.ts'
import type { App, AppBacking, AppService } from '../app/definition.ts'
import { ownedByAnother } from '../errors.ts'
import { appLabel, managerName, objectLabels } from '../render/labels.ts'
import { type Account, type CredentialField, ENGINES } from './engines.ts'

/** Name of the Secret that says how to reach a database or broker. */
export function credentialsName({ name }: Pick<AppBacking, 'name'>): string {
  return `${name}-credentials`
}

/** What the Secret holds (Service Binding for Kubernetes 1.0): everything a client must know. */
export function credentialsOf(backing: AppBacking, password: string): Record<CredentialField, string> {
  const { type, scheme, port, has } = ENGINES[backing.engine]
  const { name, username, database } = backing
  const path = has.database ? `/${encodeURIComponent(database)}` : ''
  // The account that the image of MongoDB makes lives in the database "admin".
  const query = backing.engine === 'mongodb' ? '?authSource=admin' : ''
  return {
    type,
    host: name,
    port: String(port),
    username,
    password,
    database: has.database ? database : '',
    uri: `${scheme}://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${name}:${port}${path}${query}`,
  }
}

/** The Secret with a password. Made once: it belongs to the data, which know no other password. Pure. */
export function renderCredentials(app: App, backing: AppBacking, password: string): KubeObject {
  const metadata = {
    name: credentialsName(backing),
    ...(app.namespace !== undefined && { namespace: app.namespace }),
    labels: objectLabels(app, backing),
  }
  const { type } = ENGINES[backing.engine]
  const data = Object.entries(credentialsOf(backing, password)).map(
    ([key, text]) => [key, Buffer.from(text).toString('base64')] as const,
  )
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata,
    type: `servicebinding.io/${type}`,
    data: Object.fromEntries(data),
  }
}

/**
 * Makes sure that every database and broker of an app has its Secret: one that is there is kept, whoever else delivers at the same
 * time, else one with a password of 192 random bits is made. Throws `FAIRLEAD_DELIVERY_OWNERSHIP` for one of another app.
 */
export async function ensureCredentials(
  client: KubeClient,
  app: App,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { signal } = options
  const namespace = app.namespace ?? client.namespace
  if ((app.backing ?? []).length > 0) await ensureNamespace(client, namespace, signal)
  const secrets = client.object('v1', 'Secret')
  for (const backing of app.backing ?? []) {
    const name = credentialsName(backing)
    const known = await secrets.get(name, { namespace, signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined
      throw error
    })
    if (known) {
      const owner = known.metadata.labels?.[appLabel]
      if (owner === app.name) continue
      throw ownedByAnother(`secret/${name}`, owner === undefined ? 'no app of Fairlead' : `the app "${owner}"`)
    }
    const secret = renderCredentials({ ...app, namespace }, backing, randomBytes(24).toString('base64url'))
    await secrets.create(secret, { namespace, fieldManager: managerName, signal }).catch((error: unknown) => {
      // Somebody else was quicker: theirs is the one the database will know.
      if (!isAlreadyExists(error)) throw error
    })
  }
}

/** A variable of a service, with the database or broker and the field it stands for. */
export interface UsedVariable {
  readonly name: string
  readonly backing: AppBacking
  readonly field: CredentialField
}

/**
 * The variables by which a service reaches what it uses: `DB_URL` after the name of each, and those that clients look at by custom
 * (`DATABASE_URL`, `PGHOST`), of the first that claims them. What the definition sets under `env` itself is left out. Pure.
 */
export function usedVariables(app: App, service: AppService): UsedVariable[] {
  const found = new Map<string, UsedVariable>()
  const used = (service.uses ?? []).flatMap((name) => app.backing?.find((backing) => backing.name === name) ?? [])
  for (const backing of used) {
    const own = `${backing.name.toUpperCase().replaceAll('-', '_')}_URL`
    const variables: [string, CredentialField][] = [
      ...Object.entries<CredentialField>(ENGINES[backing.engine].variables),
      [own, 'uri'],
    ]
    for (const [name, field] of variables) {
      if (!found.has(name) && !(name in service.env)) found.set(name, { name, backing, field })
    }
  }
  return [...found.values()]
}

/** The account of a database or broker with a password, or with what stands for it. */
export function accountOf({ username, database }: AppBacking, password: string): Account {
  return { username, database, password }
}
