import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Question } from 'dns-packet'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { answerQuestion } from './dns-zone.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, makeService, makeSlice } from './testing.ts'

const http = [{ name: 'http', port: 80, protocol: 'TCP' }]
const table = createServiceTable(
  createMemorySource<Service>([
    makeService('cart', { clusterIP: '10.80.0.20', ports: [{ name: 'http', port: 8080, targetPort: 80 }] }),
    makeService('db', { clusterIP: 'None', ports: [{ name: 'sql', port: 5432 }] }),
    makeService('pay', { type: 'ExternalName', externalName: 'api.pay.example' }),
    makeService('alias', { type: 'ExternalName', externalName: 'cart.shop.svc.cluster.local' }),
    makeService('loop', { type: 'ExternalName', externalName: 'loop.shop.svc.cluster.local' }),
  ]),
  createMemorySource<EndpointSlice>([
    makeSlice('cart', http, ['10.64.0.2']),
    makeSlice(
      'db',
      [{ name: 'sql', port: 5432, protocol: 'TCP' }],
      [
        { addresses: ['10.64.0.3'], hostname: 'db-0', conditions: { ready: true } },
        { addresses: ['10.64.0.4'], hostname: 'db-1', conditions: { ready: false } },
        '10.64.0.5',
      ],
    ),
  ]),
)

function ask(name: string, type: Question['type'] = 'A'): unknown {
  const reply = answerQuestion({ name, type, class: 'IN' }, table.entries)
  if (reply.status !== 'answer') return reply.status
  const records = reply.answers.map((answer) => {
    const data = 'data' in answer ? answer.data : undefined
    if (answer.type === 'SRV') return `${answer.data.port} ${answer.data.target}`
    return typeof data === 'string' ? data : '?'
  })
  return reply.elsewhere === undefined ? records : [...records, `-> ${reply.elsewhere}`]
}

void describe('answerQuestion', () => {
  const cases: { name: string; question: [string, Question['type']?]; expected: unknown }[] = [
    { name: 'virtual address', question: ['cart.shop.svc.cluster.local'], expected: ['10.80.0.20'] },
    { name: 'any case, final dot', question: ['CART.shop.SVC.cluster.local.'], expected: ['10.80.0.20'] },
    { name: 'no IPv6 record', question: ['cart.shop.svc.cluster.local', 'AAAA'], expected: 'no-data' },
    { name: 'unknown Service', question: ['no.shop.svc.cluster.local'], expected: 'no-name' },
    { name: 'unknown Service, IPv6', question: ['no.shop.svc.cluster.local', 'AAAA'], expected: 'no-name' },
    { name: 'namespace', question: ['shop.svc.cluster.local'], expected: 'no-data' },
    { name: 'unknown namespace', question: ['nope.svc.cluster.local'], expected: 'no-name' },
    { name: 'search list of a name outside', question: ['api.example.com.cluster.local'], expected: 'no-name' },
    { name: 'name outside', question: ['api.example.com'], expected: 'foreign' },
    { name: 'zone', question: ['cluster.local', 'SOA'], expected: 'no-data' },
    {
      name: 'headless: ready endpoints',
      question: ['db.shop.svc.cluster.local'],
      expected: ['10.64.0.3', '10.64.0.5'],
    },
    { name: 'one pod by host name', question: ['db-0.db.shop.svc.cluster.local'], expected: ['10.64.0.3'] },
    { name: 'one pod, not ready', question: ['db-1.db.shop.svc.cluster.local'], expected: 'no-name' },
    { name: 'one pod by address', question: ['10-64-0-5.db.shop.svc.cluster.local'], expected: ['10.64.0.5'] },
    { name: 'host below a virtual address', question: ['x.cart.shop.svc.cluster.local'], expected: 'no-name' },
    {
      name: 'port',
      question: ['_http._tcp.cart.shop.svc.cluster.local', 'SRV'],
      expected: ['8080 cart.shop.svc.cluster.local'],
    },
    { name: 'unknown port', question: ['_grpc._tcp.cart.shop.svc.cluster.local', 'SRV'], expected: 'no-name' },
    { name: 'port, other type', question: ['_http._tcp.cart.shop.svc.cluster.local'], expected: 'no-data' },
    { name: 'branch of ports', question: ['_tcp.cart.shop.svc.cluster.local'], expected: 'no-data' },
    {
      name: 'ports of headless pods',
      question: ['_sql._tcp.db.shop.svc.cluster.local', 'SRV'],
      expected: ['5432 db-0.db.shop.svc.cluster.local', '5432 10-64-0-5.db.shop.svc.cluster.local'],
    },
    {
      name: 'alias outside',
      question: ['pay.shop.svc.cluster.local'],
      expected: ['api.pay.example', '-> api.pay.example'],
    },
    { name: 'alias record alone', question: ['pay.shop.svc.cluster.local', 'CNAME'], expected: ['api.pay.example'] },
    {
      name: 'alias inside',
      question: ['alias.shop.svc.cluster.local'],
      expected: ['cart.shop.svc.cluster.local', '10.80.0.20'],
    },
    { name: 'alias to itself', question: ['loop.shop.svc.cluster.local'], expected: ['loop.shop.svc.cluster.local'] },
    { name: 'pod name', question: ['10-64-0-9.shop.pod.cluster.local'], expected: ['10.64.0.9'] },
    { name: 'pod name that is no address', question: ['web.shop.pod.cluster.local'], expected: 'no-name' },
    {
      name: 'reverse of a Service',
      question: ['20.0.80.10.in-addr.arpa', 'PTR'],
      expected: ['cart.shop.svc.cluster.local'],
    },
    {
      name: 'reverse of a pod',
      question: ['3.0.64.10.in-addr.arpa', 'PTR'],
      expected: ['db-0.db.shop.svc.cluster.local'],
    },
    { name: 'reverse outside', question: ['8.8.8.8.in-addr.arpa', 'PTR'], expected: 'foreign' },
    { name: 'version', question: ['dns-version.cluster.local', 'TXT'], expected: ['1.1.0'] },
  ]
  for (const { name, question, expected } of cases) void it(name, () => assert.deepEqual(ask(...question), expected))
})
