import { scoreCvss3 } from './cvss/cvss3.ts'
import { scoreCvss4 } from './cvss/cvss4.ts'
import type { OsvSeverity } from './osv.ts'

/** From least to most severe; `unknown` says that nobody rated the advisory. */
export const SEVERITIES = ['unknown', 'none', 'low', 'medium', 'high', 'critical'] as const

/** Rating of an advisory. */
export type Severity = (typeof SEVERITIES)[number]

/** A rating with what it was computed from. */
export interface Rating {
  severity: Severity
  /** 0 to 10. */
  score?: number | undefined
  /** The CVSS vector of the score. */
  vector?: string | undefined
}

/**
 * The highest of the CVSS vectors given (3.0, 3.1, 4.0), else the database's own word. Malicious packages are critical
 * whatever anybody wrote. CVSS 2 is not read.
 */
export function rate(id: string, vectors: readonly OsvSeverity[], words: readonly (string | undefined)[]): Rating {
  if (id.startsWith('MAL-')) return { severity: 'critical' }
  const scored = vectors
    .map(({ score: vector }) => ({ vector, score: scoreCvss4(vector) ?? scoreCvss3(vector) }))
    .filter((found): found is { vector: string; score: number } => found.score !== undefined)
    .toSorted((a, b) => b.score - a.score)[0]
  if (scored) return { severity: severityOfScore(scored.score), ...scored }
  const word = words.map((text) => WORDS[text?.toLowerCase() ?? '']).find((found) => found !== undefined)
  return { severity: word ?? 'unknown' }
}

/** Qualitative rating of a score (CVSS 3.1, section 5; CVSS 4.0, section 6). */
function severityOfScore(score: number): Severity {
  if (score === 0) return 'none'
  if (score < 4) return 'low'
  if (score < 7) return 'medium'
  return score < 9 ? 'high' : 'critical'
}

/** Whether `severity` is `threshold` or above. */
export function isAtLeast(severity: Severity, threshold: Severity): boolean {
  return SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(threshold)
}

/** Words of GitHub, Debian (`urgency`), Ubuntu and Alpine. */
const WORDS: Readonly<Record<string, Severity>> = {
  none: 'none',
  unimportant: 'low',
  negligible: 'low',
  low: 'low',
  minor: 'low',
  moderate: 'medium',
  medium: 'medium',
  important: 'high',
  high: 'high',
  critical: 'critical',
}
