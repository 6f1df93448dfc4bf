import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NetworkPolicySpec } from '@fairlead/kube/types/networking-v1'
import type { PolicyFacts, PolicyPod } from './facts.ts'
import { allows } from './reach.ts'
import type { Flow } from './reach.ts'

const http = { name: 'http', protocol: 'tcp', port: 8080 } as const

function pod(name: string, namespace: string, ip: string): PolicyPod {
  return { uid: name, namespace, labels: { app: name }, ip, ports: [http] }
}

const web = '10.64.0.2'
const db = '10.64.0.3'
const blog = '10.64.0.4'
const facts: Omit<PolicyFacts, 'policies'> = {
  pods: [pod('web', 'shop', web), pod('db', 'shop', db), pod('web', 'blog', blog)],
  namespaces: new Map([
    ['shop', { team: 'a' }],
    ['blog', { team: 'b' }],
    ['kube-system', {}],
  ]),
}
const gateway = { namespace: 'kube-system', labels: { app: 'gateway' } }

const selectDb = { podSelector: { matchLabels: { app: 'db' } } }
const selectWeb = { podSelector: { matchLabels: { app: 'web' } } }

void describe('allows', () => {
  const cases: { name: string; specs: NetworkPolicySpec[]; flow: Partial<Flow>; expected: boolean }[] = [
    { name: 'everything without policies', specs: [], flow: {}, expected: true },
    { name: 'nothing to a pod that is isolated', specs: [{ podSelector: {} }], flow: {}, expected: false },
    { name: 'a pod itself', specs: [{ podSelector: {} }], flow: { source: db }, expected: true },
    { name: 'the node', specs: [{ podSelector: {} }], flow: { isFromNode: true }, expected: true },
    {
      name: 'others than those a policy selects',
      specs: [{ podSelector: { matchLabels: { app: 'other' } } }],
      flow: {},
      expected: true,
    },
    {
      name: 'peers by their labels',
      specs: [{ ...selectDb, ingress: [{ from: [selectWeb] }] }],
      flow: {},
      expected: true,
    },
    {
      name: 'not peers of the same labels elsewhere',
      specs: [{ ...selectDb, ingress: [{ from: [selectWeb] }] }],
      flow: { source: blog },
      expected: false,
    },
    {
      name: 'peers of other namespaces',
      specs: [{ ...selectDb, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'b' } } }] }] }],
      flow: { source: blog },
      expected: true,
    },
    {
      name: 'what one of several policies allows',
      specs: [{ podSelector: {} }, { ...selectDb, ingress: [{}] }],
      flow: { source: blog },
      expected: true,
    },
    {
      name: 'ports by name',
      specs: [{ ...selectDb, ingress: [{ ports: [{ port: 'http' }] }] }],
      flow: {},
      expected: true,
    },
    {
      name: 'no other port than the one of the name',
      specs: [{ ...selectDb, ingress: [{ ports: [{ port: 'http' }] }] }],
      flow: { port: 8081 },
      expected: false,
    },
    {
      name: 'ranges of ports',
      specs: [{ ...selectDb, ingress: [{ ports: [{ port: 8000, endPort: 8090 }] }] }],
      flow: {},
      expected: true,
    },
    {
      name: 'no other protocol',
      specs: [{ ...selectDb, ingress: [{ ports: [{ protocol: 'UDP' }] }] }],
      flow: {},
      expected: false,
    },
    {
      name: 'nothing out of a pod whose egress is isolated',
      specs: [{ ...selectWeb, policyTypes: ['Egress'] }],
      flow: {},
      expected: false,
    },
    {
      name: 'nothing out of such a pod by the word of the node either',
      specs: [{ ...selectWeb, policyTypes: ['Egress'] }],
      flow: { isFromNode: true },
      expected: false,
    },
    {
      name: 'what both ends allow',
      specs: [
        { ...selectWeb, policyTypes: ['Egress'], egress: [{ to: [selectDb], ports: [{ port: 'http' }] }] },
        { ...selectDb, ingress: [{ from: [selectWeb] }] },
      ],
      flow: {},
      expected: true,
    },
    {
      name: 'egress to places outside by address only',
      specs: [{ ...selectWeb, policyTypes: ['Egress'], egress: [{ to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] }] }],
      flow: { destination: '192.0.2.9' },
      expected: true,
    },
    {
      name: 'clients outside by their block',
      specs: [{ ...selectDb, ingress: [{ from: [{ ipBlock: { cidr: '192.0.2.0/24', except: ['192.0.2.8/29'] } }] }] }],
      flow: { source: '192.0.2.1' },
      expected: true,
    },
    {
      name: 'not those the block leaves out',
      specs: [{ ...selectDb, ingress: [{ from: [{ ipBlock: { cidr: '192.0.2.0/24', except: ['192.0.2.8/29'] } }] }] }],
      flow: { source: '192.0.2.9' },
      expected: false,
    },
    {
      name: 'clients outside not by selectors',
      specs: [{ ...selectDb, ingress: [{ from: [{ namespaceSelector: {} }] }] }],
      flow: { source: '127.0.0.1' },
      expected: false,
    },
    {
      name: 'clients outside whom an allowed gateway asks for',
      specs: [{ ...selectDb, ingress: [{ from: [{ namespaceSelector: {} }] }] }],
      flow: { source: '127.0.0.1', inPlace: gateway },
      expected: true,
    },
    {
      name: 'none whom another gateway asks for',
      specs: [{ ...selectDb, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'b' } } }] }] }],
      flow: { source: '127.0.0.1', inPlace: gateway },
      expected: false,
    },
  ]
  for (const { name, specs, flow, expected } of cases) {
    void it(name, () => {
      const policies = specs.map((spec, index) => ({ metadata: { name: `p${index}`, namespace: 'shop' }, spec }))
      const asked = { source: web, destination: db, protocol: 'tcp' as const, port: 8080, ...flow }
      assert.equal(allows({ ...facts, policies }, asked), expected)
    })
  }
})
