import type { SecretFinding } from './detect.ts'

/** Every code of the search for credentials. */

/** Carries the findings as `findings`; none of them holds the value. */
export function secretsFound(dir: string, findings: readonly SecretFinding[]): Error {
  const count = `${findings.length} ${findings.length === 1 ? 'value looks like a credential' : 'values look like credentials'}`
  const lines = findings.slice(0, 20).map(({ path, line, rule, title, excerpt, fingerprint }) => {
    const place = line > 0 ? `${path}:${line}` : path
    return `  ${place}: ${title} (${rule}): ${excerpt} [${fingerprint}]`
  })
  const rest = findings.length > 20 ? [`  and ${findings.length - 20} more`] : []
  return Object.assign(
    new Error([`Cannot build "${dir}": ${count} and would enter the image`, ...lines, ...rest].join('\n')),
    {
      code: 'FAIRLEAD_BUILD_SECRET',
      hint: 'Read it at run time (a Secret, a variable) and revoke the one that leaked; what is no secret goes into fairlead.secrets.yaml',
      findings,
    },
  )
}

export function allowListInvalid(path: string, state: string, cause?: unknown): Error {
  const error = cause === undefined ? new Error(message()) : new Error(message(), { cause })
  return Object.assign(error, {
    code: 'FAIRLEAD_BUILD_SECRET_ALLOW',
    hint: 'Write "allow:" and below it a list with rule, path and reason (and fingerprint) each',
  })

  function message(): string {
    return `Cannot use list of allowed secrets "${path}": ${state}`
  }
}
