import { run } from '@fairlead/service'
import { web } from './service.ts'

await run(web)
