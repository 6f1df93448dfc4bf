import { run } from '@fairlead/service'
import { catalog } from './service.ts'

await run(catalog)
