import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { refuse } from './certificate-signer.ts'

const node = { commonName: 'system:node:n', organizations: ['system:nodes'], hasNames: false }
const order = (name: string, ...usages: string[]): Parameters<typeof refuse>[0] => ({
  signerName: `kubernetes.io/${name}`,
  request: '',
  usages,
})

describe('refuse', () => {
  for (const { name, asked, subject, why } of [
    { name: 'a client', asked: order('kube-apiserver-client', 'client auth'), subject: node, why: undefined },
    {
      name: 'a client that wants to serve',
      asked: order('kube-apiserver-client', 'server auth'),
      subject: node,
      why: /server auth/,
    },
    { name: 'a node', asked: order('kube-apiserver-client-kubelet', 'client auth'), subject: node, why: undefined },
    {
      name: 'nobody as a node',
      asked: order('kube-apiserver-client-kubelet', 'client auth'),
      subject: { ...node, organizations: [] },
      why: /organization/,
    },
    {
      name: 'a serving node without names',
      asked: order('kubelet-serving', 'server auth'),
      subject: node,
      why: /subjectAltName/,
    },
    {
      name: 'a serving node',
      asked: order('kubelet-serving', 'server auth'),
      subject: { ...node, hasNames: true },
      why: undefined,
    },
    { name: 'an unknown signer', asked: order('other', 'client auth'), subject: node, why: /unknown signer/ },
  ]) {
    it(name, () => {
      const refusal = refuse(asked, subject)
      if (why === undefined) assert.equal(refusal, undefined)
      else assert.match(refusal ?? '', why)
    })
  }
})
