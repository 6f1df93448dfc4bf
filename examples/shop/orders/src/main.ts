import { run } from '@fairlead/service'
import { orders } from './service.ts'

await run(orders)
