import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { renderServiceEnvironment } from './service-environment.ts'

describe('renderServiceEnvironment', () => {
  it('names a Service as Kubernetes and as links of Docker do', () => {
    const ports = [
      { name: 'http-api', port: 80 },
      { port: 53, protocol: 'UDP' },
    ]
    const services = [{ metadata: { name: 'shop-web' }, spec: { clusterIP: '10.0.0.7', ports } }]
    assert.deepEqual(renderServiceEnvironment(services), {
      SHOP_WEB_SERVICE_HOST: '10.0.0.7',
      SHOP_WEB_SERVICE_PORT: '80',
      SHOP_WEB_SERVICE_PORT_HTTP_API: '80',
      SHOP_WEB_PORT: 'tcp://10.0.0.7:80',
      SHOP_WEB_PORT_80_TCP: 'tcp://10.0.0.7:80',
      SHOP_WEB_PORT_80_TCP_PROTO: 'tcp',
      SHOP_WEB_PORT_80_TCP_PORT: '80',
      SHOP_WEB_PORT_80_TCP_ADDR: '10.0.0.7',
      SHOP_WEB_PORT_53_UDP: 'udp://10.0.0.7:53',
      SHOP_WEB_PORT_53_UDP_PROTO: 'udp',
      SHOP_WEB_PORT_53_UDP_PORT: '53',
      SHOP_WEB_PORT_53_UDP_ADDR: '10.0.0.7',
    })
  })

  it('leaves out what has no address', () => {
    const ports = [{ port: 80 }]
    const services = [
      { metadata: { name: 'headless' }, spec: { clusterIP: 'None', ports } },
      { metadata: { name: 'elsewhere' }, spec: { type: 'ExternalName', externalName: 'x.example' } },
    ]
    assert.deepEqual(renderServiceEnvironment(services), {})
  })
})
