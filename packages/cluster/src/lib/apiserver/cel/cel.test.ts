import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { compile } from './compile.ts'
import { CelSyntaxError } from './syntax.ts'
import type { Type } from './types.ts'
import { CelBudgetError, CelError, fromJson } from './values.ts'
import type { Value } from './values.ts'

const variables: ReadonlyMap<string, Type> = new Map<string, Type>([
  ['x', { kind: 'dyn' }],
  ['name', { kind: 'string', maxElements: 100 }],
  ['items', { kind: 'list', of: { kind: 'string', maxElements: 10 }, maxElements: 5 }],
])
const values = new Map<string, Value>([
  ['x', fromJson({ a: { b: 1 }, list: [1, 2, 3], text: 'abc', none: null })],
  ['name', 'widget'],
  ['items', ['a', 'b', 'c']],
])

function run(text: string, limit = 1_000_000): Value {
  return compile(text, variables).evaluate(values, { spent: 0, limit })
}

describe('compile and evaluate', () => {
  const good: readonly (readonly [string, string])[] = [
    ['arithmetic', '1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1 && 2.5 * 2.0 == 5.0 && 3u - 1u == 2u'],
    ['comparison across numbers', 'x.a.b == 1.0 && dyn(1) < 1.5 && dyn(2u) > 1'],
    ['limits of int', '-9223372036854775808 < 9223372036854775807'],
    ['texts', `"a\\u00e9\\n" + 'b' + r"\\d" + """x"y""" == "aé\\nb\\\\dx\\"y"`],
    ['bytes', `b"\\xff\\x00".size() == 2 && string(b'abc') == 'abc'`],
    ['conditions', 'true ? "a" == "a" : 1 / 0 == 1'],
    ['an error beside a decision', '(1 / 0 == 1 || true) && !(1 / 0 == 1 && false)'],
    ['membership', '"a" in items && 2 in x.list && !("z" in {"a": 1})'],
    ['has', 'has(x.a) && !has(x.z) && has(x.a.b)'],
    ['all and exists', 'x.list.all(i, i > 0) && x.list.exists(i, i == 2) && x.list.exists_one(i, i == 2)'],
    ['exists over failing elements', '[0, 1].exists(i, 1 / i == 1)'],
    ['map and filter', 'x.list.map(i, i * 2) == [2, 4, 6] && x.list.filter(i, i > 1).size() == 2'],
    ['map with a filter', 'x.list.map(i, i > 1, i * 2) == [4, 6]'],
    ['two variables', '["a", "b"].all(i, v, i < 2 && v < "c") && {"k": 1}.exists(k, v, k == "k" && v == 1)'],
    [
      'transforms',
      '["a"].transformList(i, v, v + string(i)) == ["a0"] && {"a": 1}.transformMap(k, v, v + 1) == {"a": 2}',
    ],
    ['optionals', 'x.?a.?b.orValue(5) == 1 && x.?z.b.orValue(5) == 5 && !x[?"z"].hasValue()'],
    ['optional elements', '[?optional.none(), 1] == [1] && {?"a": optional.of(1)} == {"a": 1}'],
    ['optMap', 'optional.of(2).optMap(v, v + 1).value() == 3 && !optional.none().optMap(v, 1).hasValue()'],
    ['types', 'type(1) == int && type("") == string && type(x.list) == list && type(null) == null_type'],
    ['conversions', 'int("42") == 42 && double("1.5") == 1.5 && string(1.5) == "1.5" && uint(3) == 3u && bool("true")'],
    ['time', 'timestamp("2026-01-31T10:00:00Z") + duration("24h") == timestamp("2026-02-01T10:00:00Z")'],
    ['parts of time', 'timestamp("2026-03-01T10:05:00Z").getMonth() == 2 && duration("90m").getHours() == 1'],
    ['zones', 'timestamp("2026-07-01T10:00:00Z").getHours("Europe/Berlin") == 12'],
    [
      'regular expressions',
      'name.matches("^wid") && "a1b22".find("[0-9]+") == "1" && "a1b22".findAll("[0-9]+") == ["1", "22"]',
    ],
    [
      'text functions',
      '"a,b".split(",") == ["a", "b"] && ["a", "b"].join("-") == "a-b" && "Abc".lowerAscii() == "abc"',
    ],
    [
      'more text functions',
      '"hello".substring(1, 3) == "el" && "hello".replace("l", "L", 1) == "heLlo" && " a ".trim() == "a"',
    ],
    ['format', '"%s %d %.2f %x".format(["a", 1, 1.5, 255]) == "a 1 1.50 ff"'],
    ['lists', '[1, 3, 2].max() == 3 && [1, 2].isSorted() && [1, 2].sum() == 3 && [3, 1].sort() == [1, 3]'],
    ['sets', 'sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])'],
    ['quantities', 'quantity("1500m").isGreaterThan(quantity("1")) && quantity("1Ki").asInteger() == 1024'],
    ['sums of quantities', 'quantity("50k").add(20) == quantity("50020") && isQuantity("1Gi") && !isQuantity("1x")'],
    [
      'addresses',
      'ip("10.0.0.1").family() == 4 && cidr("10.0.0.0/8").containsIP("10.1.2.3") && isIP("::1") && !isIP("a")',
    ],
    ['networks', 'cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16") && cidr("10.1.0.0/8").masked() == cidr("10.0.0.0/8")'],
    [
      'canonical addresses',
      'ip.isCanonical("127.0.0.1") && !ip.isCanonical("2001:DB8::1") && string(ip("::1")) == "::1"',
    ],
    ['URLs', 'url("https://a.example:80/p?k=1").getHostname() == "a.example" && isURL("/x") && !isURL("a b")'],
    [
      'versions',
      'semver("1.2.3").isLessThan(semver("1.10.0")) && semver("v1.0", true).major() == 1 && !isSemver("1.0")',
    ],
    [
      'named formats',
      '!format.dns1123Label().validate("abc").hasValue() && format.dns1123Label().validate("A").hasValue()',
    ],
    ['unsigned numbers in capitals', '0x1FU == 31u'],
    ['an int beside a double, as doubles', '!(dyn(9223372036854775807) < 9223372036854775808.0)'],
    ['rounding to even', '"%.0f %.0f %.1f".format([0.5, 2.5, 0.25]) == "0 2 0.2"'],
    ['thousands', '"%.2f".format([-1234567.5]) == "-1,234,567.50"'],
    [
      'powers of ten',
      '"%e".format([1052.032911275]) == "1.052033×10⁰³" && "%e".format([-1.5e-10]) == "-1.500000×10⁻¹⁰"',
    ],
    [
      'values in lists',
      `"%s".format([["a", 1.5, null, b"x", duration("2h")]]) == '["a", 1.500000, null, b"x", duration("7200s")]'`,
    ],
    ['values in maps', `"%s".format([{"b": 1, "a": [true]}]) == '{"a":[true], "b":1}'`],
    [
      'large doubles as texts',
      'string(1234567.0) == "1.234567e+06" && string(0.000001) == "1e-06" && string(-0.0) == "-0"',
    ],
    ['doubles from texts', 'double("0x1p-2") == 0.25 && double("1_0") == 10.0'],
    ['white space of Unicode', '"\\u0085\\u00a0a\\ufeff".trim() == "a\\ufeff"'],
    ['places beyond the end', '"abc".indexOf("a", 30) == -1 && "abc".lastIndexOf("", 5) == 5'],
    ['all milliseconds of a duration', 'duration("123.321s").getMilliseconds() == 123321'],
    ['fields of what has none', '!has(dyn(1).a) && !{"a": dyn(null)}.?a.b.hasValue()'],
    ['order by something else', '[[1, 2], [1]].sortBy(e, e.size()) == [[1], [1, 2]]'],
    ['an alternative nobody needs', 'optional.of(1).or(optional.of(1 / 0)).orValue(1 / 0) == 1'],
    ['findings of formats', 'format.uuid().validate("x").value() == ["does not match the UUID format"]'],
  ]
  for (const [title, text] of good) it(title, () => assert.equal(run(text), true, text))

  const failing: readonly (readonly [string, RegExp])[] = [
    ['0.0 / 0.0 < 1.0', /NaN values cannot be ordered/],
    ["timestamp('9999-12-31T23:59:59Z') + duration('1s') > timestamp('2000-01-01T00:00:00Z')", /timestamp overflow/],
    ['dyn(-9223372036854775808) % -1 == 0', /integer overflow/],
    ['int(name) == 1', /type conversion error from 'string' to 'int'/],
    ['"%d".format([x.text]) == ""', /decimal clause can only be used on integers, was given string/],
    ["ip('::ffff:10.0.0.1').family() == 4", /IPv4-mapped IPv6 address "::ffff:10.0.0.1" is not allowed/],
    ['[1].flatten(-1) == [1]', /level must be non-negative/],
    ['1 / 0 == 1', /division by zero/],
    ['x.z == 1', /no such key: z/],
    ['x.list[7] == 1', /index out of bounds: 7/],
    ['9223372036854775807 + 1 > 0', /integer overflow/],
    ['x.text > 1', /no such overload/],
    ['optional.none().value() == 1', /optional.none\(\) dereference/],
  ]
  for (const [text, message] of failing) {
    it(`fails: ${text}`, () =>
      assert.throws(
        () => run(text),
        (error) => error instanceof CelError && message.test(error.message),
      ))
  }

  const wrong: readonly (readonly [string, RegExp])[] = [
    ['name + 1', /found no matching overload for '_\+_' applied to '\(string, int\)'/],
    ['nobody == 1', /undeclared reference to 'nobody' \(in container ''\)/],
    ['name.nothing()', /undeclared reference to 'nothing'/],
    ['[1, "a"] == []', /expected type 'int' but found 'string'/],
    ['1 +', /Syntax error: mismatched input '<EOF>'/],
    ['has(x)', /invalid argument to has\(\) macro/],
    ['name.all(c, true)', /cannot be range of a comprehension/],
    ['while == 1', /reserved identifier: while/],
    ['x.`a` == 1', /unsupported syntax: '`'/],
    ['duration("1d") > duration("1h")', /invalid duration argument/],
    ['timestamp("2023-02-30T00:00:00Z") == x', /invalid timestamp argument/],
    ['name.matches("(")', /invalid matches argument/],
    ['"%d".format([1, 2])', /too many arguments supplied to string.format \(expected 1, got 2\)/],
    ['"%d %d".format([1])', /index 1 out of range/],
    ['"%d".format(["a"])', /decimal clause can only be used on integers, was given string/],
    ['"%q".format([1])', /unrecognized formatting clause "q"/],
    ['["a"].sum() == "a"', /found no matching overload for 'sum'/],
    ['[1].existsOne(i, i == 1)', /undeclared reference to 'existsOne'/],
  ]
  for (const [text, message] of wrong) {
    it(`refuses: ${text}`, () => {
      assert.throws(
        () => compile(text, variables),
        (error) => error instanceof CelSyntaxError && message.test(error.message),
      )
    })
  }

  it('refuses what is too deep instead of running out of stack', () => {
    for (const text of [`${'('.repeat(5000)}1`, `${'!'.repeat(5000)}true`, '['.repeat(5000)]) {
      assert.throws(() => compile(text, variables), CelSyntaxError)
    }
  })

  it('stops what costs too much', () => {
    const text = '[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, a + b + c > 0)))'
    assert.throws(() => run(text, 1000), CelBudgetError)
  })

  const costs: readonly (readonly [string, number])[] = [
    ['[1, 2, 3] == [1, 2, 3]', 1],
    ['name in ["a", "b"]', 1],
    ['duration("1h") < duration("2h")', 1],
    ['["a"][0] == name', 4],
    ['[1, 2, 3].filter(i, i > 2)', 20],
    ['!!true', 0],
    ['items[0] == name', 4],
    ['cidr("10.0.0.0/8").containsIP("10.0.0.1")', 3],
  ]
  for (const [text, cost] of costs) {
    it(`costs what it costs upstream: ${text}`, () => {
      const meter = { spent: 0, limit: 1000 }
      compile(text, variables).evaluate(values, meter)
      assert.equal(meter.spent, cost)
    })
  }

  it('estimates the most an expression can cost from the limits of its variables', () => {
    const cost = (text: string): number => compile(text, variables).estimatedCost
    assert.equal(cost('name == "abc"'), 2)
    assert.equal(cost('name.startsWith("abc")'), 2)
    assert.ok(cost('items.all(a, a.startsWith("x"))') < cost('items.all(a, items.all(b, a != b))'))
    assert.ok(cost('x.all(a, x.all(b, a == b))') >= Number.MAX_SAFE_INTEGER)
  })
})
