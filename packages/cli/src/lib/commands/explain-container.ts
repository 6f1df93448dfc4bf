import { join } from 'node:path'
import { explainContainer as explain } from '@fairlead/oci/runtime'
import type { ExplainedContainer, ExplainedStep } from '@fairlead/oci/runtime'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { notFound } from '../errors.ts'
import { findImage, openImages } from '../image/local.ts'
import { indent, renderTable } from '../terminal/text.ts'

/** `fairlead explain container` */
export const explainContainer: Command = defineCommand({
  name: 'explain container',
  summary: 'make a container by hand, step by step, and show what the kernel says',
  description: [
    'Takes one process from the machine into a container with programs of util-linux: namespaces, a control group, the',
    'image as its root, no capabilities, another user. After each step it shows what the kernel then says of the process,',
    'and at last the same of a container that runc or crun makes. What follows -- is run in both. Needs Linux and root;',
    'nothing is left over.',
  ].join('\n'),
  args: ['[REFERENCE]', '[-- command...]'],
  options: {
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead explain container', text: 'with the first image of this machine' },
    {
      command: 'fairlead explain container localhost/shop/web:latest -- /nodejs/bin/node -p process.pid',
      text: 'and run a program in it',
    },
  ],
  async run({ options, args: [given, ...command], homes, terminal, signal }) {
    const reference = given ?? (await openImages(homes).then((images) => images.list()))[0]?.reference
    if (reference === undefined) throw notFound('image', 'there is none on this machine', 'Build one: fairlead build')
    const { layout, image } = await findImage(homes, reference, undefined)
    const running = explain(image, {
      dir: join(homes.home, 'run'),
      layersDir: join(homes.home, 'layers'),
      layout,
      signal,
      ...(command.length > 0 ? { command } : {}),
      // With --json the program's output must not mix with ours.
      ...(options.json ? { stdio: [2, 2] as const } : {}),
    })
    const steps: ExplainedStep[] = []
    const print = (text: string): void => (options.json ? undefined : terminal.print(text))
    print(`${reference}\n`)
    let result = await running.next()
    for (; !result.done; result = await running.next()) {
      print(renderStep(result.value, steps.length, steps.at(-1)))
      steps.push(result.value)
    }
    if (options.json) terminal.printJson({ reference, steps, byRuntime: result.value })
    else terminal.print(renderComparison(steps.at(-1), result.value))
    return result.value.exitCodes?.byRuntime ?? 0
  },
})

function renderStep({ title, why, commands, facts }: ExplainedStep, number: number, before?: ExplainedStep): string {
  const changed = Object.entries(facts).filter(([name, value]) => before?.facts[name] !== value)
  const lines = changed.map(([name, value]) => {
    const old = before?.facts[name]
    return `${name.padEnd(18)} ${old === undefined ? value : `${old} -> ${value}`}`
  })
  const shown = commands.map((command) => `$ ${command}`)
  return [`${number}. ${title}`, indent([why, ...shown, ...lines].join('\n'), '   '), ''].join('\n')
}

function renderComparison(
  byHand: ExplainedStep | undefined,
  { runtime, facts, exitCodes }: ExplainedContainer,
): string {
  const rows = Object.entries(facts).map(([name, value]) => {
    const own = byHand?.facts[name] ?? '-'
    return [name, own, value, own === value ? '' : 'differs']
  })
  const exits = exitCodes ? [['exit code', String(exitCodes.byHand), String(exitCodes.byRuntime), '']] : []
  return renderTable(['', 'BY HAND', `BY ${runtime.toUpperCase()}`, ''], [...rows, ...exits])
}
