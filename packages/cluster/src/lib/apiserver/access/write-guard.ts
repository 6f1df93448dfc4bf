import type { Store } from '../../storage/store.ts'
import type { Authorizer } from './authorizer.ts'
import { admitCertificate } from './certificates.ts'
import { judgeClaim } from './device-claims.ts'
import { restrictNode } from './node/node-restriction.ts'
import type { Write } from './node/node-restriction.ts'
import { checkEscalation } from './rbac/escalation.ts'

export type { Write } from './node/node-restriction.ts'

/** Looks at what somebody writes, where being allowed to write is not enough: rights nobody may hand on, nodes, devices. */
export class WriteGuard {
  readonly #store: Store
  readonly #authorizer: Authorizer

  constructor(store: Store, authorizer: Authorizer) {
    this.#store = store
    this.#authorizer = authorizer
  }

  /** Runs synchronously inside the write; throws 403, of claims to devices 422. */
  check(write: Write): void {
    restrictNode(this.#store, write)
    const { operation, subresource, identity, resource, object, old } = write
    if (resource.info.kind === 'CertificateSigningRequest') admitCertificate(this.#authorizer, write)
    if (resource.info.group === 'resource.k8s.io') judgeClaim(this.#store, this.#authorizer, write)
    if (operation !== 'delete' && subresource === '') {
      checkEscalation(this.#authorizer, identity, resource, object, old)
    }
  }
}
