// 100 restarts of a service under load: what do its clients notice?
//   npm run bench -- drain [--json] [--save]
import { figureOf, report } from '../report.ts'
import { restartUnderLoad } from '../../tests/e2e/support/drain-rig.ts'

const restarts = 100
const seen = await restartUnderLoad(restarts)
for (const failure of new Set(seen.failures)) console.log(`  ${failure}`)
report('drain', [
  figureOf('restarts', 'restarts', [seen.drainedMs.length], { atLeast: restarts }),
  figureOf('requests failed, events lost, connections broken', 'failures', [seen.failures.length], { atMost: 0 }),
  figureOf('connections cut at the deadline', 'restarts', [seen.cut], { atMost: 0 }),
  figureOf('HTTP/1.1 keep-alive POST requests served', 'requests', [seen.http1]),
  figureOf('HTTP/2 POST requests served', 'requests', [seen.http2]),
  figureOf('HTTP/2 requests refused unseen (GOAWAY) and sent again', 'requests', [seen.resent]),
  figureOf('WebSocket messages answered', 'messages', [seen.messages]),
  figureOf('events received in order', 'events', [seen.events]),
  figureOf('SIGTERM to the end of the process (100 ms of it the drain delay)', 'ms', seen.drainedMs),
])
process.exit(seen.failures.length === 0 ? 0 : 1)
