import type { ReadStream } from 'node:tty'

/** Asks for one line at a terminal, and shows none of it. */
export async function askSecret(stdin: ReadStream, question: string, signal: AbortSignal): Promise<string> {
  process.stderr.write(question)
  stdin.setRawMode(true)
  try {
    let line = ''
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      for (const character of chunk.toString()) {
        if (character === '\r' || character === '\n' || character === '\u0004') return line
        if (character === '\u0003') process.kill(process.pid, 'SIGINT')
        else line = character === '\u007F' ? line.slice(0, -1) : line + character
      }
      signal.throwIfAborted()
    }
    return line
  } finally {
    stdin.setRawMode(false)
    process.stderr.write('\n')
  }
}
