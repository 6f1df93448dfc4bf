import type { Builder } from './parse.ts'
import { CelSyntaxError } from './syntax.ts'
import type { Expr } from './syntax.ts'

/** Where a comprehension keeps what it has so far; no expression can name it. */
const accumulatorName = '@result'

/** What a macro stands for; undefined when the call is none. */
export function expandMacro(
  build: Builder,
  name: string,
  target: Expr | undefined,
  args: readonly Expr[],
  at: number,
): Expr | undefined {
  if (target === undefined) return name === 'has' && args.length === 1 ? expandHas(build, args, at) : undefined
  const expand = macros.get(`${name}:${args.length}`)
  return expand?.({ build, target, args, at })
}

/** `cel.bind(x, value, e)`: e, in which x is the value; undefined when the call is another. */
export function expandBind(
  build: Builder,
  name: string,
  target: Expr | undefined,
  args: readonly Expr[],
  at: number,
): Expr | undefined {
  const isBind = name === 'bind' && target?.kind === 'ident' && target.name === 'cel'
  const [, value, result, ...more] = args
  if (!isBind || value === undefined || result === undefined || more.length > 0) return undefined
  const call = { build, target, args, at }
  return bindTo(call, bind(call, 1).variable, value, result)
}

interface MacroCall {
  readonly build: Builder
  readonly target: Expr
  readonly args: readonly Expr[]
  readonly at: number
}

function expandHas(build: Builder, [argument]: readonly Expr[], at: number): Expr {
  if (argument?.kind !== 'select' || argument.isTest) {
    throw new CelSyntaxError('invalid argument to has() macro', argument?.at ?? at)
  }
  return build.select(argument.operand, argument.field, argument.at, true)
}

const macros: ReadonlyMap<string, (call: MacroCall) => Expr> = new Map([
  ['all:2', (call: MacroCall) => expandAll(call, 1)],
  ['all:3', (call: MacroCall) => expandAll(call, 2)],
  ['exists:2', (call: MacroCall) => expandExists(call, 1)],
  ['exists:3', (call: MacroCall) => expandExists(call, 2)],
  ['exists_one:2', (call: MacroCall) => expandExistsOne(call, 1)],
  ['exists_one:3', (call: MacroCall) => expandExistsOne(call, 2)],
  ['existsOne:3', (call: MacroCall) => expandExistsOne(call, 2)],
  ['map:2', (call: MacroCall) => expandMap(call, 1)],
  ['map:3', (call: MacroCall) => expandMap(call, 1)],
  ['filter:2', expandFilter],
  ['transformList:3', (call: MacroCall) => expandMap(call, 2)],
  ['transformList:4', (call: MacroCall) => expandMap(call, 2)],
  ['transformMap:3', (call: MacroCall) => expandTransformMap(call, 'cel.@mapInsert')],
  ['transformMap:4', (call: MacroCall) => expandTransformMap(call, 'cel.@mapInsert')],
  ['transformMapEntry:3', (call: MacroCall) => expandTransformMap(call, 'cel.@mapMerge')],
  ['transformMapEntry:4', (call: MacroCall) => expandTransformMap(call, 'cel.@mapMerge')],
  ['sortBy:2', expandSortBy],
  ['optMap:2', (call: MacroCall) => expandOptional(call, true)],
  ['optFlatMap:2', (call: MacroCall) => expandOptional(call, false)],
])

/** Names of the variables a macro binds, and what comes after them. */
function bind(call: MacroCall, count: number): { variable: string; second: string; rest: readonly Expr[] } {
  const names = call.args.slice(0, count).map((each) => {
    if (each.kind === 'ident' && each.name !== accumulatorName) return each.name
    throw new CelSyntaxError('argument must be a simple name', each.at)
  })
  if (names.length === 2 && names[0] === names[1]) {
    throw new CelSyntaxError(`duplicate variable name: ${names[0]}`, call.args[1]?.at ?? call.at)
  }
  return { variable: names[0] ?? '', second: names[1] ?? '', rest: call.args.slice(count) }
}

function fold(
  call: MacroCall,
  names: { variable: string; second: string },
  parts: { init: Expr; condition: Expr; step: Expr; result: Expr },
): Expr {
  const { variable, second } = names
  return call.build.fold({ at: call.at, range: call.target, variable, second, accumulator: accumulatorName, ...parts })
}

function accumulator({ build, at }: MacroCall): Expr {
  return build.ident(accumulatorName, at)
}

function bool({ build, at }: MacroCall, value: boolean): Expr {
  return build.literal({ type: 'bool', value }, at)
}

function operate({ build, at }: MacroCall, name: string, ...args: Expr[]): Expr {
  return build.call(name, undefined, args, at)
}

function expandAll(call: MacroCall, count: number): Expr {
  const names = bind(call, count)
  const predicate = names.rest[0] as Expr
  return fold(call, names, {
    init: bool(call, true),
    condition: operate(call, '@not_strictly_false', accumulator(call)),
    step: operate(call, '_&&_', accumulator(call), predicate),
    result: accumulator(call),
  })
}

function expandExists(call: MacroCall, count: number): Expr {
  const names = bind(call, count)
  const predicate = names.rest[0] as Expr
  return fold(call, names, {
    init: bool(call, false),
    condition: operate(call, '@not_strictly_false', operate(call, '!_', accumulator(call))),
    step: operate(call, '_||_', accumulator(call), predicate),
    result: accumulator(call),
  })
}

function expandExistsOne(call: MacroCall, count: number): Expr {
  const names = bind(call, count)
  const one = (): Expr => call.build.literal({ type: 'int', value: 1n }, call.at)
  const counted = operate(call, '_+_', accumulator(call), one())
  return fold(call, names, {
    init: call.build.literal({ type: 'int', value: 0n }, call.at),
    condition: bool(call, true),
    step: operate(call, '_?_:_', names.rest[0] as Expr, counted, accumulator(call)),
    result: operate(call, '_==_', accumulator(call), one()),
  })
}

function expandMap(call: MacroCall, count: number): Expr {
  const names = bind(call, count)
  const transform = names.rest.at(-1) as Expr
  const filter = names.rest.length > 1 ? names.rest[0] : undefined
  const appended = operate(call, '_+_', accumulator(call), call.build.list([transform], call.at))
  return fold(call, names, {
    init: call.build.list([], call.at),
    condition: bool(call, true),
    step: filter === undefined ? appended : operate(call, '_?_:_', filter, appended, accumulator(call)),
    result: accumulator(call),
  })
}

function expandFilter(call: MacroCall): Expr {
  const names = bind(call, 1)
  const appended = operate(call, '_+_', accumulator(call), call.build.list([call.args[0] as Expr], call.at))
  return fold(call, names, {
    init: call.build.list([], call.at),
    condition: bool(call, true),
    step: operate(call, '_?_:_', names.rest[0] as Expr, appended, accumulator(call)),
    result: accumulator(call),
  })
}

function expandTransformMap(call: MacroCall, insert: 'cel.@mapInsert' | 'cel.@mapMerge'): Expr {
  const names = bind(call, 2)
  const transform = names.rest.at(-1) as Expr
  const filter = names.rest.length > 1 ? names.rest[0] : undefined
  const key = call.build.ident(names.variable, call.at)
  const inserted =
    insert === 'cel.@mapInsert'
      ? operate(call, insert, accumulator(call), key, transform)
      : operate(call, 'cel.@mapInsert', accumulator(call), transform)
  return fold(call, names, {
    init: call.build.map([], call.at),
    condition: bool(call, true),
    step: filter === undefined ? inserted : operate(call, '_?_:_', filter, inserted, accumulator(call)),
    result: accumulator(call),
  })
}

/** `x.sortBy(v, e)`: the elements in the order of e of each. */
function expandSortBy(call: MacroCall): Expr {
  const { build, at, target } = call
  const list = (): Expr => build.ident('@__sortBy_input__', at)
  const keys = expandMap({ ...call, target: list() }, 1)
  return bindTo(call, '@__sortBy_input__', target, build.call('@sortByAssociatedKeys', list(), [keys], at))
}

/** `result` where `variable` is `value`: a comprehension over nothing, whose accumulator has the name of the variable. */
function bindTo({ build, at }: MacroCall, variable: string, value: Expr, result: Expr): Expr {
  return build.fold({
    at,
    range: build.list([], at),
    variable: '#unused',
    second: '',
    accumulator: variable,
    init: value,
    condition: build.literal({ type: 'bool', value: false }, at),
    step: build.ident(variable, at),
    result,
  })
}

/** `x.optMap(v, e)`: e with the value, when there is one. */
function expandOptional(call: MacroCall, wraps: boolean): Expr {
  const { build, at, target } = call
  const { variable, rest } = bind(call, 1)
  const value = build.call('value', target, [], at)
  const bound = bindTo(call, variable, value, rest[0] as Expr)
  const some = wraps ? build.call('optional.of', undefined, [bound], at) : bound
  const none = build.call('optional.none', undefined, [], at)
  return build.call('_?_:_', undefined, [build.call('hasValue', target, [], at), some, none], at)
}
