// Loaded by `--import`: each SIGUSR2 moves the wall clock of this process on by an hour, as a machine that slept sees it.
const RealDate = Date
let aheadMs = 0
process.on('SIGUSR2', () => (aheadMs += 3_600_000))
globalThis.Date = class extends RealDate {
  constructor(...parts) {
    super(...(parts.length === 0 ? [RealDate.now() + aheadMs] : parts))
  }
  static now() {
    return RealDate.now() + aheadMs
  }
}
