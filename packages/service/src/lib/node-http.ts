/**
 * node:http when it is needed, and without what importing it brings: an `import` reads every export, and one of them is the
 * WebSocket of undici, so that Node loads its whole fetch, 40 ms and 13 MB.
 */
export function nodeHttp(): typeof import('node:http') {
  return process.getBuiltinModule('node:http')
}

/** node:https in the same way, for those that use TLS. */
export function nodeHttps(): typeof import('node:https') {
  return process.getBuiltinModule('node:https')
}

/** The reason phrase of a status. */
export function statusText(status: number): string | undefined {
  return nodeHttp().STATUS_CODES[status]
}
