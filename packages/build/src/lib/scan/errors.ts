/** Every code of scanning for known vulnerabilities. */

interface Details {
  code: string
  hint: string
  cause?: unknown
}

function coded(message: string, { code, hint, cause }: Details): Error {
  const error = cause === undefined ? new Error(message) : new Error(message, { cause })
  return Object.assign(error, { code, hint })
}

export function databaseInvalid(path: string, state: string, cause?: unknown): Error {
  return coded(`Cannot open advisory database "${path}": ${state}`, {
    code: 'FAIRLEAD_BUILD_SCAN_DATABASE',
    hint: 'Remove the file and import the advisories again with fairlead image scan db import',
    cause,
  })
}

export function databaseSource(source: string, state: string, cause?: unknown): Error {
  return coded(`Cannot import advisories from "${source}": ${state}`, {
    code: 'FAIRLEAD_BUILD_SCAN_SOURCE',
    hint: 'Give a folder of OSV JSON files, or an all.zip as osv.dev publishes it for each ecosystem',
    cause,
  })
}

export function ignoreInvalid(path: string, state: string, hint: string, cause?: unknown): Error {
  return coded(`Cannot use ignore file "${path}": ${state}`, { code: 'FAIRLEAD_BUILD_SCAN_IGNORE', hint, cause })
}

export function vexInvalid(path: string, state: string, cause?: unknown): Error {
  return coded(`Cannot use VEX document "${path}": ${state}`, {
    code: 'FAIRLEAD_BUILD_SCAN_VEX',
    hint: 'Give an OpenVEX document (https://openvex.dev) as JSON',
    cause,
  })
}
