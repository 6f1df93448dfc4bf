import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import { createLiveSteps, createPlainSteps, type Steps } from './steps.ts'

/** The streams of a command: results go to stdout, everything else to stderr. */
export interface Terminal {
  /** One result. */
  print(text: string): void
  /** One result as JSON. */
  printJson(value: unknown): void
  /** A line for the person; no result. */
  note(text: string): void
  /** Progress on stderr: a live display on a terminal, plain lines otherwise. */
  steps(): Steps
  /** Colours for stderr; the text itself when colours are off. */
  readonly paint: Paint
  /** Colours for stdout. */
  readonly paintResults: Paint
}

export type Paint = (colour: 'red' | 'green' | 'yellow' | 'cyan' | 'dim' | 'bold', text: string) => string

export interface TerminalOptions {
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WritableStream
  readonly env: NodeJS.ProcessEnv
}

/** The terminal of a process. `NO_COLOR`, `FORCE_COLOR`, `TERM=dumb` and `CI` are honoured. */
export function createTerminal({ stdout, stderr, env }: TerminalOptions): Terminal {
  const isTty = isTerminal(stderr) && env['TERM'] !== 'dumb'
  const paint = createPaint(stderr, env)
  return {
    print: (text) => void stdout.write(`${text}\n`),
    printJson: (value) => void stdout.write(`${JSON.stringify(value, undefined, 2)}\n`),
    note: (text) => void stderr.write(`${text}\n`),
    steps: () =>
      isTty && isTerminal(stderr) && !env['CI'] ? createLiveSteps(stderr, paint) : createPlainSteps(stderr),
    paint,
    paintResults: createPaint(stdout, env),
  }
}

function createPaint(stream: NodeJS.WritableStream, env: NodeJS.ProcessEnv): Paint {
  const isWanted = env['FORCE_COLOR'] ? true : isTerminal(stream) && env['TERM'] !== 'dumb' && !env['NO_COLOR']
  return (colour, text) => (isWanted ? styleText(colour, text, { validateStream: false }) : text)
}

function isTerminal(stream: NodeJS.WritableStream): stream is WriteStream {
  return 'isTTY' in stream && stream.isTTY === true
}
