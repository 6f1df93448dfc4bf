import type { KubeObject } from '@fairlead/kube/types'
import type { PersistentVolume } from '@fairlead/kube/types/core-v1'

import type { Store } from '../../../storage/store.ts'
import type { Identity } from '../../exchange.ts'
import { knownResource, readObject } from '../../resource.ts'
import type { Attributes, Decision } from '../attributes.ts'
import { allows } from '../rbac/rules.ts'
import { nodeRules } from './node-rules.ts'
import { PodsOfNodes } from './pods-of-nodes.ts'
import type { Referenced } from './references.ts'

/** The node an identity is, `''` when it is one that does not say which, undefined when it is none. */
export function nodeNameOf({ user, groups }: Identity): string | undefined {
  if (!user.startsWith('system:node:')) return undefined
  return groups.includes('system:nodes') ? user.slice('system:node:'.length) : undefined
}

/** Lets nodes (`system:node:NAME` in `system:nodes`) read what pods bound to them name, and write about themselves. */
export class NodeAuthorizer {
  readonly #store: Store
  readonly pods: PodsOfNodes

  constructor(store: Store) {
    this.#store = store
    this.pods = new PodsOfNodes(store)
  }

  close(): void {
    this.pods.close()
  }

  /** Undefined for who is no node. */
  authorize(identity: Identity, asked: Attributes): Decision | undefined {
    const nodeName = nodeNameOf(identity)
    if (nodeName === undefined) return undefined
    if (nodeName === '') return deny(`unknown node for user ${JSON.stringify(identity.user)}`)
    const own = asked.path === undefined ? this.#bySubject(nodeName, asked) : undefined
    if (own !== undefined) return own === true ? allowed : deny(own)
    return nodeRules.some((rule) => allows(rule, asked)) ? allowed : deny('')
  }

  /** True, or why not; undefined for what does not depend on the node. */
  #bySubject(nodeName: string, asked: Attributes): true | string | undefined {
    switch (`${asked.group}/${asked.resource}`) {
      case '/secrets':
      case '/configmaps':
        return this.#read(nodeName, asked.resource as Referenced, asked)
      case '/persistentvolumeclaims':
        return this.#claim(nodeName, asked)
      case '/persistentvolumes':
        return this.#volume(nodeName, asked)
      case '/serviceaccounts':
        return this.#account(nodeName, asked)
      case '/nodes':
        return authorizeNode(nodeName, asked)
      case '/pods':
        return this.#pod(nodeName, asked)
      case 'coordination.k8s.io/leases':
        return authorizeLease(nodeName, asked)
      case 'storage.k8s.io/csinodes':
        return authorizeCsiNode(nodeName, asked)
      default:
        return undefined
    }
  }

  #read(nodeName: string, kind: Referenced, asked: Attributes): true | string {
    if (!['get', 'list', 'watch'].includes(asked.verb)) return 'can only read resources of this type'
    if (asked.subresource !== '') return 'cannot read subresource'
    if (asked.namespace === '') return 'can only read namespaced object of this type'
    return this.#related(nodeName, kind, asked)
  }

  #claim(nodeName: string, asked: Attributes): true | string {
    if (asked.subresource === 'status') {
      if (asked.verb !== 'update' && asked.verb !== 'patch') return 'can only get/update/patch this type'
    } else {
      const why = getOnly(asked)
      if (why !== undefined) return why
    }
    return this.#related(nodeName, 'persistentvolumeclaims', asked)
  }

  #volume(nodeName: string, asked: Attributes): true | string {
    const why = getOnly(asked)
    if (why !== undefined) return why
    const volumes = knownResource('', 'v1', 'persistentvolumes')
    const entry = this.#store.get(volumes.collection, asked.name)
    if (entry === undefined) return unrelated(nodeName)
    const { spec } = readObject(volumes, entry) as KubeObject & PersistentVolume
    const { namespace = '', name = '' } = spec?.claimRef ?? {}
    const isRelated = this.pods.refersTo(nodeName, 'persistentvolumeclaims', namespace, name)
    return isRelated || unrelated(nodeName)
  }

  #account(nodeName: string, asked: Attributes): true | string {
    if (asked.verb === 'get' && asked.subresource === '') return this.#read(nodeName, 'serviceaccounts', asked)
    if (asked.verb !== 'create' || asked.name === '') return 'can only create tokens for individual service accounts'
    if (asked.subresource !== 'token') return 'can only create token subresource of serviceaccount'
    return this.#related(nodeName, 'serviceaccounts', asked)
  }

  #pod(nodeName: string, asked: Attributes): true | string {
    const { verb, subresource, namespace, name } = asked
    if (subresource === 'status') return verb === 'update' || verb === 'patch' || ''
    if (subresource === 'eviction') return verb === 'create' || ''
    if (subresource !== '') return ''
    // Which pod it may be, admission decides: the object is not known here.
    if (verb === 'create' || verb === 'delete') return true
    if (verb === 'get') return this.pods.hasPod(nodeName, namespace, name) || unrelated(nodeName)
    if (verb !== 'list' && verb !== 'watch') return ''
    if (asked.fieldSelector === `spec.nodeName=${nodeName}`) return true
    if (name !== '') return this.pods.hasPod(nodeName, namespace, name) || unrelated(nodeName)
    return 'can only list/watch pods with spec.nodeName field selector'
  }

  #related(nodeName: string, kind: Referenced, { namespace, name }: Attributes): true | string {
    if (name === '') return 'No Object name found'
    return this.pods.refersTo(nodeName, kind, namespace, name) || unrelated(nodeName)
  }
}

const allowed: Decision = { allowed: true, reason: '' }

function deny(reason: string): Decision {
  return { allowed: false, reason }
}

function unrelated(nodeName: string): string {
  return `no relationship found between node '${nodeName}' and this object`
}

function getOnly({ verb, subresource }: Attributes): string | undefined {
  if (verb !== 'get') return 'can only get individual resources of this type'
  return subresource === '' ? undefined : 'cannot get subresource'
}

function authorizeNode(nodeName: string, { verb, subresource, name }: Attributes): true | string {
  if (subresource === 'status') return verb === 'update' || verb === 'patch' || ''
  if (subresource !== '') return ''
  // Admission sees to it that the node is the one that asks.
  if (['create', 'update', 'patch'].includes(verb)) return true
  if (!['get', 'list', 'watch'].includes(verb)) return ''
  if (name === nodeName) return true
  if (name === '') return `node '${nodeName}' cannot read all nodes, only its own Node object`
  return `node '${nodeName}' cannot read '${name}', only its own Node object`
}

const ownVerbs = ['get', 'create', 'update', 'patch', 'delete']

function authorizeLease(nodeName: string, { verb, namespace, name }: Attributes): true | string {
  if (!ownVerbs.includes(verb)) return 'can only get, create, update, patch, or delete a node lease'
  if (namespace !== 'kube-node-lease') return 'can only access leases in the "kube-node-lease" system namespace'
  if (verb === 'create' || name === nodeName) return true
  return 'can only access node lease with the same name as the requesting node'
}

function authorizeCsiNode(nodeName: string, { verb, subresource, name }: Attributes): true | string {
  if (!ownVerbs.includes(verb)) return 'can only get, create, update, patch, or delete a CSINode'
  if (subresource !== '') return 'cannot authorize CSINode subresources'
  if (verb === 'create' || name === nodeName) return true
  return 'can only access CSINode with the same name as the requesting node'
}
