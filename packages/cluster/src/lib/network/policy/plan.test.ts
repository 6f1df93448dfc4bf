import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NetworkPolicy, NetworkPolicySpec } from '@fairlead/kube/types/networking-v1'
import type { PolicyFacts, PolicyPod } from './facts.ts'
import { renderChange, renderRemoval } from './parts.ts'
import type { Parts } from './parts.ts'
import { planPolicies } from './plan.ts'

function pod(name: string, namespace: string, ip: string, ports: PolicyPod['ports'] = []): PolicyPod {
  return { uid: `${namespace}-${name}`, namespace, labels: { app: name }, ip, ports }
}

const http = { name: 'http', protocol: 'tcp', port: 8080 } as const
const facts: Omit<PolicyFacts, 'policies'> = {
  pods: [
    pod('web', 'shop', '10.64.0.2', [http]),
    pod('db', 'shop', '10.64.0.3', [{ ...http, port: 9090 }]),
    pod('web', 'blog', '10.64.0.4'),
  ],
  namespaces: new Map([
    ['shop', { team: 'a' }],
    ['blog', { team: 'b' }],
    ['kube-system', { 'kubernetes.io/metadata.name': 'kube-system' }],
  ]),
  dns: { host: '10.64.0.1', port: 10_053, address: '10.80.0.10' },
}

const app = (name: string): { matchLabels: { app: string } } => ({ matchLabels: { app: name } })

function policy(spec: NetworkPolicySpec, name = 'p', namespace = 'shop'): NetworkPolicy {
  return { metadata: { name, namespace }, spec }
}

function planOf(...policies: NetworkPolicy[]): Parts {
  return planPolicies({ ...facts, policies }, 'flbridge')
}

/** Addresses under policies of a direction. */
function isolated(parts: Parts, direction: 'ingress' | 'egress'): string[] {
  return (parts.get(direction)?.content ?? []).map((element) => element.split(' ')[0] ?? '')
}

/** The rules of the only policy, sets written in place of their names. */
function rulesOf(parts: Parts, direction: 'ingress' | 'egress'): string[] {
  const [, chain] =
    [...parts].find(
      ([name, { kind }]) => kind === 'chain' && /^(in|e)gress-[0-9a-f]+$/.test(name) && name.startsWith(direction),
    ) ?? []
  return (chain?.content ?? []).map((rule) =>
    rule.replace(/@(\S+)/, (_, name: string) => `{${parts.get(name)?.content.join(', ')}}`),
  )
}

void describe('planPolicies', () => {
  void describe('selects pods', () => {
    const cases: { name: string; spec: NetworkPolicySpec; ingress: string[]; egress: string[] }[] = [
      {
        name: 'all of its namespace by an empty selector',
        spec: { podSelector: {} },
        ingress: ['10.64.0.2', '10.64.0.3'],
        egress: [],
      },
      { name: 'by labels', spec: { podSelector: app('db') }, ingress: ['10.64.0.3'], egress: [] },
      {
        name: 'for egress too when it has such a rule',
        spec: { podSelector: app('db'), egress: [{}] },
        ingress: ['10.64.0.3'],
        egress: ['10.64.0.3'],
      },
      {
        name: 'for the types it names and no other',
        spec: { podSelector: app('db'), policyTypes: ['Egress'] },
        ingress: [],
        egress: ['10.64.0.3'],
      },
      { name: 'none that it does not mean', spec: { podSelector: app('cache') }, ingress: [], egress: [] },
    ]
    for (const { name, spec, ingress, egress } of cases) {
      void it(name, () => {
        const parts = planOf(policy(spec))
        assert.deepEqual(isolated(parts, 'ingress'), ingress)
        assert.deepEqual(isolated(parts, 'egress'), egress)
      })
    }
  })

  void describe('allows ingress', () => {
    const cases: { name: string; rule: NonNullable<NetworkPolicySpec['ingress']>[number]; rules: string[] }[] = [
      { name: 'from everybody by an empty rule', rule: {}, rules: ['accept'] },
      { name: 'from everybody by empty lists', rule: { from: [], ports: [] }, rules: ['accept'] },
      {
        name: 'from pods of its own namespace',
        rule: { from: [{ podSelector: app('web') }] },
        rules: ['ip saddr {10.64.0.2} accept'],
      },
      {
        name: 'from all pods of namespaces',
        rule: { from: [{ namespaceSelector: { matchLabels: { team: 'b' } } }] },
        rules: ['ip saddr {10.64.0.4} accept'],
      },
      {
        name: 'from pods of namespaces, both selectors together',
        rule: { from: [{ namespaceSelector: {}, podSelector: app('web') }] },
        rules: ['ip saddr {10.64.0.2, 10.64.0.4} accept'],
      },
      {
        name: 'from any of several peers',
        rule: { from: [{ podSelector: app('web') }, { namespaceSelector: { matchLabels: { team: 'b' } } }] },
        rules: ['ip saddr {10.64.0.2, 10.64.0.4} accept'],
      },
      {
        name: 'from nobody when no pod is meant',
        rule: { from: [{ podSelector: app('cache') }] },
        rules: ['ip saddr {} accept'],
      },
      {
        name: 'from an address block without its exceptions',
        rule: { from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.64.0.0/24', '10.9.0.0/16'] } }] },
        rules: ['ip saddr 10.0.0.0/8 ip saddr != 10.64.0.0/24 ip saddr != 10.9.0.0/16 accept'],
      },
      { name: 'from nobody by a block of IPv6', rule: { from: [{ ipBlock: { cidr: '2001:db8::/64' } }] }, rules: [] },
      {
        name: 'to ports, ranges and protocols',
        rule: {
          ports: [
            { port: 80 },
            { port: 90, endPort: 99 },
            { port: 95 },
            { port: 53, protocol: 'UDP' },
            { protocol: 'SCTP' },
          ],
        },
        rules: [
          'meta l4proto tcp th dport { 80, 90-99 } accept',
          'meta l4proto udp th dport { 53 } accept',
          'meta l4proto sctp accept',
        ],
      },
      {
        name: 'to named ports, by what each selected pod calls so',
        rule: { ports: [{ port: 'http' }] },
        rules: ['ip daddr . meta l4proto . th dport {10.64.0.2 . tcp . 8080, 10.64.0.3 . tcp . 9090} accept'],
      },
      {
        name: 'to nothing when the name has another protocol',
        rule: { ports: [{ port: 'http', protocol: 'UDP' }] },
        rules: ['ip daddr . meta l4proto . th dport {} accept'],
      },
    ]
    for (const { name, rule, rules } of cases) {
      void it(name, () =>
        assert.deepEqual(rulesOf(planOf(policy({ podSelector: {}, ingress: [rule] })), 'ingress'), rules),
      )
    }
  })

  void describe('allows egress', () => {
    const dns = (protocol: string): string => `ip daddr 10.64.0.1 meta l4proto ${protocol} th dport 10053 accept`
    const cases: { name: string; rule: NonNullable<NetworkPolicySpec['egress']>[number]; rules: string[] }[] = [
      { name: 'to pods', rule: { to: [{ podSelector: app('db') }] }, rules: ['ip daddr {10.64.0.3} accept'] },
      { name: 'to everything, and so to the name server', rule: {}, rules: ['accept', dns('udp'), dns('tcp')] },
      {
        name: 'to port 53 of everybody, which means the name server wherever it listens',
        rule: { ports: [{ port: 53, protocol: 'UDP' }] },
        rules: ['meta l4proto udp th dport { 53 } accept', dns('udp')],
      },
      {
        name: 'to the pods of kube-dns, which are a process of the node',
        rule: {
          to: [
            {
              namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
              podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
            },
          ],
          ports: [{ port: 53, protocol: 'UDP' }, { port: 'dns-tcp' }],
        },
        rules: [
          'ip daddr {} meta l4proto udp th dport { 53 } accept',
          'ip daddr {} ip daddr . meta l4proto . th dport @0-ports accept',
          dns('udp'),
          dns('tcp'),
        ],
      },
      {
        name: 'to the name server by a block with its address',
        rule: { to: [{ ipBlock: { cidr: '10.80.0.10/32' } }], ports: [{ port: 1, endPort: 100, protocol: 'UDP' }] },
        rules: ['ip daddr 10.80.0.10/32 meta l4proto udp th dport { 1-100 } accept', dns('udp')],
      },
      {
        name: 'to named ports of the pods called',
        rule: { ports: [{ port: 'http' }] },
        rules: ['ip daddr . meta l4proto . th dport {10.64.0.2 . tcp . 8080, 10.64.0.3 . tcp . 9090} accept'],
      },
    ]
    for (const { name, rule, rules } of cases) {
      void it(name, () => {
        const found = rulesOf(planOf(policy({ podSelector: {}, policyTypes: ['Egress'], egress: [rule] })), 'egress')
        assert.deepEqual(
          found.map((line) => line.replace(/@egress-\w+-(0-ports)/, '@$1')),
          rules,
        )
      })
    }
  })

  void it('gives a pod what any of its policies allows, and drops the rest', () => {
    const parts = planOf(
      policy({ podSelector: {} }, 'deny'),
      policy({ podSelector: app('web'), ingress: [{}] }, 'open'),
    )
    const [web = '', db = ''] = parts.get('ingress')?.content ?? []
    const unionOf = (element: string): readonly string[] => parts.get(element.split('goto ')[1] ?? '')?.content ?? []
    assert.equal(unionOf(web).length, 3)
    assert.equal(unionOf(db).length, 2)
    for (const element of [web, db]) assert.equal(unionOf(element).at(-1), 'drop')
  })

  void it('changes only elements when a peer comes', () => {
    const spec = { podSelector: app('db'), ingress: [{ from: [{ podSelector: app('web') }] }] }
    const before = planOf(policy(spec))
    const more = [...facts.pods, pod('web', 'shop', '10.64.0.9')]
    const after = planPolicies({ ...facts, pods: more, policies: [policy(spec)] }, 'flbridge')
    const commands = renderChange('ip t', before, after)
    assert.equal(commands.length, 1)
    assert.match(commands[0] ?? '', /^add element ip t peers-\w+ \{ 10\.64\.0\.9 \}$/)
    const back = renderChange('ip t', after, before)
    assert.match(back.join(), /^delete element ip t peers-\w+ \{ 10\.64\.0\.9 \}$/)
  })

  void it('moves a pod to another union of policies in place', () => {
    const one = planOf(policy({ podSelector: app('web') }))
    const two = planOf(policy({ podSelector: app('web') }), policy({ podSelector: {} }, 'more'))
    const commands = renderChange('ip t', one, two).filter((command) => command.includes('element ip t ingress'))
    assert.equal(commands[0], 'delete element ip t ingress { 10.64.0.2 }')
    assert.match(commands[1] ?? '', /^add element ip t ingress \{ 10\.64\.0\.2 : goto \S+, 10\.64\.0\.3 : goto \S+ \}$/)
  })

  void it('takes away chains and sets that nothing leads to any more', () => {
    const spec = { podSelector: app('db'), ingress: [{ from: [{ podSelector: app('web') }] }] }
    const commands = renderRemoval('ip t', planOf(policy(spec)), planOf())
    assert.deepEqual(
      commands.map((command) => command.replace(/[0-9a-f]{12}/, 'ID')),
      [
        'flush chain ip t ingress-of-ID',
        'flush chain ip t ingress-ID',
        'delete chain ip t ingress-of-ID',
        'delete chain ip t ingress-ID',
        'delete set ip t peers-ID',
      ],
    )
  })
})
