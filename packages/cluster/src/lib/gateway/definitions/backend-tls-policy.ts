import type { Kind } from './definition.ts'
import { conditions, list, map, object, port, string } from './schema.ts'

// Fields and bounds of Gateway API v1.4, standard channel, as in gateway-api.ts.

const group = 'gateway.networking.k8s.io'
const atomic = { 'x-kubernetes-list-type': 'atomic' }
const name = string({ minLength: 1, maxLength: 253 })
const namespace = string({ minLength: 1, maxLength: 63 })
const kindName = string({ minLength: 1, maxLength: 63, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' })
const groupName = string({ maxLength: 253 })
const reference = { group: groupName, kind: kindName, name }
const required = ['group', 'kind', 'name']
const host = String.raw`[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
const hostname = string({ minLength: 1, maxLength: 253, pattern: `^${host}` })

const validation = object(
  {
    hostname,
    caCertificateRefs: list(object(reference, { required }), { maxItems: 8, ...atomic }),
    wellKnownCACertificates: string({ enum: ['System'] }),
    subjectAltNames: list(
      object(
        {
          type: string({ enum: ['Hostname', 'URI'] }),
          hostname: string({ minLength: 1, maxLength: 253, pattern: String.raw`^(\*\.)?${host}` }),
          uri: string({ minLength: 1, maxLength: 253 }),
        },
        { required: ['type'] },
      ),
      { maxItems: 5, ...atomic },
    ),
  },
  { required: ['hostname'] },
)

const ancestorRef = object(
  {
    group: string({ default: group, maxLength: 253 }),
    kind: { ...kindName, default: 'Gateway' },
    namespace,
    name,
    sectionName: name,
    port,
  },
  { required: ['name'] },
)

export const backendTlsPolicyKind: Kind = {
  group,
  kind: 'BackendTLSPolicy',
  plural: 'backendtlspolicies',
  shortNames: ['btlspolicy'],
  categories: ['gateway-api'],
  // Manifests of before 1.4 name the second.
  versions: ['v1', 'v1alpha3'],
  spec: object(
    {
      targetRefs: list(object({ ...reference, sectionName: name }, { required }), {
        minItems: 1,
        maxItems: 16,
        ...atomic,
      }),
      validation,
      options: map(string({ maxLength: 4096 })),
    },
    { required: ['targetRefs', 'validation'] },
  ),
  status: object(
    {
      ancestors: list(
        object(
          { ancestorRef, conditions, controllerName: string({ minLength: 1, maxLength: 253 }) },
          { required: ['ancestorRef', 'conditions', 'controllerName'] },
        ),
        { maxItems: 16, ...atomic },
      ),
    },
    { required: ['ancestors'] },
  ),
  columns: [['Age', '.metadata.creationTimestamp', 'date']],
}
