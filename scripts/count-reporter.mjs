// A node:test reporter that emits one JSON line of totals, so that several runs can be added up.
export default async function* countReporter(source) {
  const totals = { passed: 0, failed: 0, skipped: 0 }
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue
    if (event.data.details?.type === 'suite') continue
    if (event.data.skip !== undefined || event.data.todo !== undefined) totals.skipped += 1
    else if (event.type === 'test:pass') totals.passed += 1
    else totals.failed += 1
  }
  yield `${JSON.stringify(totals)}\n`
}
