import { type Command, defineCommand, jsonOption } from '../command.ts'
import { examine, type Finding } from '../doctor/checks.ts'
import type { Paint } from '../terminal/terminal.ts'

/** `fairlead doctor` */
export const doctor: Command = defineCommand({
  name: 'doctor',
  summary: 'check what this machine can do',
  description:
    'Each line is ok, warn (a lesser way is taken) or fail (something essential does not work).\nExit code 1 when a check fails.',
  options: { json: jsonOption },
  examples: [{ command: 'fairlead doctor', text: 'before the first fairlead up, or when one failed' }],
  async run({ options, homes, env, terminal, signal }) {
    const findings = await examine({ env, homes, signal })
    if (options.json) terminal.printJson(findings)
    else terminal.print(renderFindings(findings, terminal.paintResults))
    return findings.some(({ status }) => status === 'fail') ? 1 : 0
  },
})

const colours = { ok: 'green', warn: 'yellow', fail: 'red' } as const

/** A line per finding; the way out below those that need one. */
export function renderFindings(findings: readonly Finding[], paint: Paint): string {
  const width = Math.max(...findings.map(({ name }) => name.length))
  return findings
    .flatMap(({ name, status, detail, hint }) => [
      `${paint(colours[status], status.padEnd(4))}  ${name.padEnd(width)}  ${detail}`,
      ...(hint === undefined || status === 'ok' ? [] : [`${' '.repeat(width + 8)}${hint}`]),
    ])
    .join('\n')
}
