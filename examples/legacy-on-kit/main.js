import { run, service } from '@fairlead/service'
import { expressApp } from '@fairlead/service/express'
import { createApp } from 'guest-book/src/app.js'

await run(service({ name: 'guest-book', app: expressApp(createApp()) }))
