import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { askedAttributes } from './request-attributes.ts'

/** `VERB GROUP RESOURCE/SUBRESOURCE NAMESPACE NAME`, or the verb and the path. */
function ask(method: string, target: string): string {
  const { pathname, searchParams } = new URL(target, 'https://cluster')
  const { verb, group, resource, subresource, namespace, name, path } = askedAttributes(method, pathname, searchParams)
  if (path !== undefined) return `${verb} ${path}`
  const what = subresource === '' ? resource : `${resource}/${subresource}`
  return [verb, group, what, `ns=${namespace}`, `name=${name}`].filter((part) => part !== '').join(' ')
}

describe('askedAttributes', () => {
  for (const [method, target, expected] of [
    ['GET', '/version', 'get /version'],
    ['GET', '/api/v1', 'get /api/v1'],
    ['GET', '/apis/apps/v1', 'get /apis/apps/v1'],
    ['GET', '/api/v1/pods', 'list pods ns= name='],
    ['HEAD', '/api/v1/pods?watch=1', 'watch pods ns= name='],
    ['GET', '/api/v1/namespaces/shop/pods/web?watch=1', 'get pods ns=shop name=web'],
    ['GET', '/apis/example.com/v1/namespaces/shop/widgets', 'list example.com widgets ns=shop name='],
    ['PUT', '/apis/apps/v1/namespaces/shop/deployments/web/scale', 'update apps deployments/scale ns=shop name=web'],
    ['GET', '/api/v1/namespaces/shop', 'get namespaces ns=shop name=shop'],
    ['PUT', '/api/v1/namespaces/shop/finalize', 'update namespaces/finalize ns=shop name=shop'],
    ['PATCH', '/api/v1/namespaces/shop/status', 'patch namespaces/status ns=shop name=shop'],
    ['DELETE', '/api/v1/namespaces/shop/pods', 'deletecollection pods ns=shop name='],
    ['GET', '/api/v1/pods?fieldSelector=metadata.name%3Dweb', 'list pods ns= name=web'],
    ['DELETE', '/api/v1/pods?fieldSelector=metadata.name%3Dweb', 'deletecollection pods ns= name='],
    ['GET', '/api/v1/watch/pods', 'watch pods ns= name='],
    ['GET', '/api/v1/watch/namespaces/shop/pods/web', 'watch pods ns=shop name=web'],
    ['GET', '/api/v1/watch/namespaces/shop', 'watch namespaces ns=shop name=shop'],
    ['GET', '/apis/apps/v1/watch/deployments', 'watch apps deployments ns= name='],
    ['GET', '/api/v1/watch', 'get /api/v1/watch'],
    ['GET', '/api/v1/watch/pods?fieldSelector=metadata.name%3Dweb', 'watch pods ns= name='],
  ] as const) {
    it(`reads ${method} ${target}`, () => assert.equal(ask(method, target), expected))
  }
})
