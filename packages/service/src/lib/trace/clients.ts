let depth = 0

/** Runs `open`, which makes HTTP requests that are nobody's: they get no span, no headers and are not measured. */
export function runUninstrumented<T>(open: () => T): T {
  depth += 1
  try {
    return open()
  } finally {
    depth -= 1
  }
}

/** Whether requests that begin now are to be left alone. */
export function isUninstrumented(): boolean {
  return depth > 0
}
