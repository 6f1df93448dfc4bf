// The kit in the service-kit benchmark: `node service-kit-instance.ts`. Prints its port on standard error: standard output is for the
// log. What is switched on is said by the environment, as in production.
import { service, start } from '@fairlead/service'

const users = service({
  name: 'users',
  http: (router) =>
    router.get('/users/:id', ({ params }) => ({ id: params.id, name: 'Ada', roles: ['admin', 'user'] })),
})
console.error((await start(users, { port: 0, host: '127.0.0.1' })).port)
