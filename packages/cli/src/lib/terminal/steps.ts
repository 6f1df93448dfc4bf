import type { WriteStream } from 'node:tty'
import type { Paint } from './terminal.ts'
import { renderDuration } from './text.ts'

/** Steps of a command, some at the same time. */
export interface Steps extends Disposable {
  /** Begins a step; `title` names it as long as it is shown. */
  start(title: string): Step
}

/** One step; `done` or `fail` ends it. */
export interface Step {
  update(detail: string): void
  done(detail?: string): void
  fail(detail?: string): void
}

/** A line per event, for logs and pipes. */
export function createPlainSteps(stream: NodeJS.WritableStream, now: () => number = Date.now): Steps {
  const write = (mark: string, title: string, detail: string): void =>
    void stream.write(`${mark} ${title}${detail === '' ? '' : `: ${detail}`}\n`)
  return {
    start(title) {
      const started = now()
      let last = ''
      write('...', title, '')
      const end = (mark: string, detail: string): void =>
        write(mark, `${title} (${renderDuration(now() - started)})`, detail)
      return {
        update(detail) {
          if (detail !== last) write('...', title, detail)
          last = detail
        },
        done: (detail = '') => end('ok ', detail),
        fail: (detail = '') => end('err', detail),
      }
    },
    [Symbol.dispose]() {},
  }
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const frameMs = 80
const hideCursor = '\u001B[?25l'
const showCursor = '\u001B[?25h'

/**
 * Ended steps stay as lines; those under way are drawn below them and drawn anew until they end. A line is cut at the
 * width of the terminal, because a wrapped line could not be taken back.
 */
export function createLiveSteps(stream: WriteStream, paint: Paint): Steps {
  const running = new Map<symbol, { title: string; detail: string; started: number }>()
  let drawnLines = 0
  let frame = 0
  const erase = (): string => (drawnLines === 0 ? '' : `\r\u001B[${drawnLines}A\u001B[0J`)
  const draw = (above = ''): void => {
    const lines = [...running.values()].map(({ title, detail, started }) => {
      const seconds = renderDuration(Date.now() - started)
      const text = cut(`${title}${detail === '' ? '' : `  ${detail}`}`, stream.columns - seconds.length - 6)
      return `${paint('cyan', frames[frame % frames.length] ?? '')} ${text}  ${paint('dim', seconds)}\n`
    })
    const shown = lines.slice(0, Math.max(1, stream.rows - 2))
    stream.write(`${hideCursor}${erase()}${above}${shown.join('')}`)
    drawnLines = shown.length
  }
  const timer = setInterval(() => {
    frame++
    if (running.size > 0) draw()
  }, frameMs)
  timer.unref()
  // An exit that disposes of nothing, as at a second Ctrl-C, must not leave the person without a cursor.
  const restore = (): void => void stream.write(showCursor)
  process.once('exit', restore)
  return {
    start(title) {
      const key = Symbol(title)
      const step = { title, detail: '', started: Date.now() }
      running.set(key, step)
      draw()
      const end = (mark: string, detail: string): void => {
        if (!running.delete(key)) return
        const seconds = renderDuration(Date.now() - step.started)
        draw(`${mark} ${title}${detail === '' ? '' : `  ${detail}`}  ${paint('dim', seconds)}\n`)
      }
      return {
        update(detail) {
          step.detail = detail
        },
        done: (detail = '') => end(paint('green', '✔'), detail),
        fail: (detail = '') => end(paint('red', '✘'), detail),
      }
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      process.off('exit', restore)
      stream.write(`${erase()}${showCursor}`)
      drawnLines = 0
    },
  }
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}
