import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { rejectSysctls, sysctlsOf } from './sysctls.ts'

function pod(name: string, spec: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  return { spec: { containers: [], securityContext: { sysctls: [{ name, value: '1' }] }, ...spec } }
}

const cases: readonly { name: string; pod: Pod; says: string | undefined }[] = [
  { name: 'takes a safe one', pod: pod('kernel.shm_rmid_forced'), says: undefined },
  { name: 'takes a safe one written with slashes', pod: pod('net/ipv4/tcp_syncookies'), says: undefined },
  {
    name: 'refuses an unsafe one',
    pod: pod('kernel.msgmax'),
    says: 'forbidden sysctl: "kernel.msgmax" not allowlisted',
  },
  {
    name: 'refuses those of the network in the network of the node',
    pod: pod('net.ipv4.tcp_syncookies', { hostNetwork: true }),
    says: 'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
  },
  {
    name: 'refuses those of shared memory in that of the node',
    pod: pod('kernel.shm_rmid_forced', { hostIPC: true }),
    says: 'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled',
  },
]

describe('rejectSysctls', () => {
  for (const { name, pod: of, says } of cases) it(name, () => assert.equal(rejectSysctls(of)?.message, says))
})

describe('sysctlsOf', () => {
  it('lets every pod listen on low ports and ping, and sets what it asks for by the names of the kernel', () => {
    const own = sysctlsOf(pod('net/ipv4/conf/eth0.1/forwarding'))
    assert.deepEqual(own, {
      'net.ipv4.ip_unprivileged_port_start': '0',
      'net.ipv4.ping_group_range': '0 2147483647',
      'net.ipv4.conf.eth0/1.forwarding': '1',
    })
    assert.deepEqual(sysctlsOf({ spec: { containers: [], hostNetwork: true } }), {})
  })
})
