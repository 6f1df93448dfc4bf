import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Identity } from '../exchange.ts'
import { StatusError } from '../status.ts'
import type { Attributes } from './attributes.ts'
import { accessForbidden } from './authorizer.ts'
import type { Authorizer } from './authorizer.ts'
import { Impersonation } from './impersonation.ts'

const joe: Identity = { user: 'joe', groups: ['system:authenticated'] }
const listPods: Attributes = { verb: 'list', group: '', resource: 'pods', subresource: '', namespace: 'shop', name: '' }

/** Allows what is named as `VERB RESOURCE[/SUBRESOURCE] [NAMESPACE/]NAME`, and keeps what was asked. */
function allowing(...allowed: string[]): { authorizer: Authorizer; asked: string[] } {
  const asked: string[] = []
  const check = (identity: Identity, about: Attributes): void => {
    const { verb, group, resource, subresource, namespace, name } = about
    const what = `${resource}${group === '' ? '' : `.${group}`}${subresource === '' ? '' : `/${subresource}`}`
    const text = `${verb} ${what} ${namespace === '' ? '' : `${namespace}/`}${name}`.trim()
    asked.push(text)
    if (!allowed.includes(text)) throw accessForbidden(identity, about, '')
  }
  // The one thing of an authorizer that is asked.
  return { authorizer: { check } as unknown as Authorizer, asked }
}

function act(
  allowed: readonly string[],
  headers: Record<string, string[]>,
  identity: Identity = joe,
): { as?: Identity; refused?: string; asked: string[] } {
  const { authorizer, asked } = allowing(...allowed)
  try {
    return { as: new Impersonation(authorizer).impersonate(identity, headers, () => listPods), asked }
  } catch (error) {
    assert.ok(error instanceof StatusError)
    return { refused: `${error.status.code} ${error.status.message}`, asked }
  }
}

const on = (mode: string): string => `impersonate-on:${mode}:list pods shop/`
const authn = 'authentication.k8s.io'

describe('Impersonation', () => {
  it('lets somebody act as a user for one verb only, when both roles are there', () => {
    const allowed = [on('user-info'), `impersonate:user-info users.${authn} ann`]
    const { as } = act(allowed, { 'impersonate-user': ['ann'] })
    assert.deepEqual(as, { user: 'ann', groups: ['system:authenticated'] })
    const { refused } = act(allowed.slice(1), { 'impersonate-user': ['ann'] })
    assert.match(
      refused ?? '',
      /^403 pods is forbidden: User "joe" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "shop"/,
    )
    assert.match(
      act(allowed.slice(0, 1), { 'impersonate-user': ['ann'] }).refused ?? '',
      /users\.authentication\.k8s\.io "ann" is forbidden: User "joe" cannot impersonate:user-info resource "users"/,
    )
  })

  it('asks for uid, groups and extras of a user as well, some of which nobody may have', () => {
    const headers = {
      'impersonate-user': ['ann'],
      'impersonate-uid': ['7'],
      'impersonate-group': ['team'],
      'impersonate-extra-acme.io%2fscope': ['view'],
    }
    const allowed = [
      on('user-info'),
      `impersonate:user-info users.${authn} ann`,
      `impersonate:user-info uids.${authn} 7`,
      `impersonate:user-info groups.${authn} team`,
      `impersonate:user-info groups.${authn} system:masters`,
      `impersonate:user-info userextras.${authn}/acme.io/scope view`,
      `impersonate:user-info userextras.${authn}/scope view`,
    ]
    const { as } = act(allowed, headers)
    assert.deepEqual(as, {
      user: 'ann',
      uid: '7',
      groups: ['team', 'system:authenticated'],
      extra: { 'acme.io/scope': ['view'] },
    })
    assert.match(
      act(allowed, { ...headers, 'impersonate-group': ['system:masters'] }).refused ?? '',
      /: impersonating the system:masters group is not allowed$/,
    )
    assert.match(
      act(allowed, { 'impersonate-user': ['ann'], 'impersonate-extra-scope': ['view'] }).refused ?? '',
      /impersonating an invalid key in extra is not allowed: extra\.key: Invalid value: "scope": must be a domain-prefixed path/,
    )
  })

  it('acts as service accounts and nodes in modes of their own, with the groups that come with them', () => {
    const account = { 'impersonate-user': ['system:serviceaccount:shop:web'] }
    const asAccount = act(
      [on('serviceaccount'), `impersonate:serviceaccount serviceaccounts.${authn} shop/web`],
      account,
    )
    assert.deepEqual(asAccount.as?.groups, [
      'system:serviceaccounts',
      'system:serviceaccounts:shop',
      'system:authenticated',
    ])
    const node = { 'impersonate-user': ['system:node:n1'] }
    const asNode = act([on('arbitrary-node'), `impersonate:arbitrary-node nodes.${authn} n1`], node)
    assert.deepEqual(asNode.as, { user: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] })
    assert.ok(act([], node).asked.every((each) => !each.includes('user-info')))
  })

  it('lets a pod act as the node it is on, and no other', () => {
    const extra = { 'authentication.kubernetes.io/node-name': ['n1'] }
    const agent: Identity = { user: 'system:serviceaccount:kube-system:agent', groups: [], extra }
    const allowed = [on('associated-node'), `impersonate:associated-node nodes.${authn} *`]
    assert.equal(act(allowed, { 'impersonate-user': ['system:node:n1'] }, agent).as?.user, 'system:node:n1')
    assert.match(act(allowed, { 'impersonate-user': ['system:node:n2'] }, agent).refused ?? '', /^403/)
    assert.match(act(allowed, { 'impersonate-user': ['system:node:n1'] }).refused ?? '', /^403/)
  })

  it('falls back on the verb without constraints, and then tries that first', () => {
    const { authorizer, asked } = allowing('impersonate users ann')
    const impersonation = new Impersonation(authorizer)
    const as = (user: string): Identity =>
      impersonation.impersonate(joe, { 'impersonate-user': [user] }, () => listPods)
    assert.equal(as('ann').user, 'ann')
    assert.deepEqual(asked.splice(0), [on('user-info'), 'impersonate users ann'])
    assert.equal(as('ann').user, 'ann')
    assert.deepEqual(asked.splice(0), ['impersonate users ann'])
    assert.throws(() => as('bob'), /users "bob" is forbidden: User "joe" cannot impersonate resource "users"/)
  })
})
