import { defineApp } from '@fairlead/delivery/app'

export default defineApp({
  name: 'shop',
  services: {
    catalog: { volumes: { '/data': 'ephemeral' }, env: { DATA_DIR: '/data' } },
    orders: { volumes: { '/data': 'ephemeral' }, env: { DATA_DIR: '/data', CATALOG_URL: 'http://catalog' } },
    // SHOP_PORT: where 8080 is taken.
    web: {
      public: Number(process.env['SHOP_PORT'] ?? 8080),
      env: { CATALOG_URL: 'http://catalog', ORDERS_URL: 'http://orders' },
    },
  },
})
