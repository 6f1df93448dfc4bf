import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseDuration } from './duration.ts'
import { parseSchedule } from './schedule.ts'
import { findTimeZone, renderZonedTime } from './time-zone.ts'

/** The next `count` times after `from`, as UTC. */
function timesOf(text: string, from: string, count = 1): string[] {
  const { schedule, problem } = parseSchedule(text, findTimeZone('UTC'))
  assert.equal(problem, undefined)
  const times: string[] = []
  for (let at = schedule?.next(Date.parse(from)); at !== undefined && times.length < count; at = schedule?.next(at)) {
    times.push(new Date(at).toISOString().slice(0, 16))
  }
  return times
}

void describe('parseSchedule', () => {
  for (const { text, from, times } of [
    { text: '*/15 * * * *', from: '2026-01-01T10:50:30Z', times: ['2026-01-01T11:00', '2026-01-01T11:15'] },
    { text: '7/20 10-11 * * *', from: '2026-01-01T10:30:00Z', times: ['2026-01-01T10:47', '2026-01-01T11:07'] },
    { text: '0 9 * * mon-FRI', from: '2026-01-02T09:00:00Z', times: ['2026-01-05T09:00', '2026-01-06T09:00'] },
    { text: '0 0 31 * *', from: '2026-02-01T00:00:00Z', times: ['2026-03-31T00:00', '2026-05-31T00:00'] },
    { text: '0 0 13 * 5', from: '2026-02-07T00:00:00Z', times: ['2026-02-13T00:00', '2026-02-20T00:00'] },
    { text: '0 0 */2 * 1', from: '2026-02-01T00:00:00Z', times: ['2026-02-02T00:00', '2026-02-03T00:00'] },
    { text: '@weekly', from: '2026-01-01T00:00:00Z', times: ['2026-01-04T00:00', '2026-01-11T00:00'] },
    { text: '@every 1h30m', from: '2026-01-01T00:00:20Z', times: ['2026-01-01T01:30', '2026-01-01T03:00'] },
    { text: '0 0 30 2 *', from: '2026-01-01T00:00:00Z', times: [] },
    { text: '0 0 29 2 *', from: '2026-01-01T00:00:00Z', times: ['2028-02-29T00:00', '2032-02-29T00:00'] },
  ]) {
    void it(`knows when ${text} is`, () => assert.deepEqual(timesOf(text, from, 2), times))
  }

  void it('skips an hour that the clock skips', () => {
    const times = timesOf('TZ=Europe/Berlin 30 2 * * *', '2026-03-28T00:00:00Z', 3)
    assert.deepEqual(times, ['2026-03-28T01:30', '2026-03-30T00:30', '2026-03-31T00:30'])
  })

  void it('has an hour twice that the clock repeats', () => {
    const times = timesOf('TZ=Europe/Berlin 30 2 * * *', '2026-10-24T12:00:00Z', 3)
    assert.deepEqual(times, ['2026-10-25T00:30', '2026-10-25T01:30', '2026-10-26T01:30'])
  })

  for (const { text, problem } of [
    { text: '', problem: 'empty spec string' },
    { text: '* * * *', problem: 'expected exactly 5 fields, found 4: [* * * *]' },
    { text: '60 * * * *', problem: 'end of range (60) above maximum (59): 60' },
    { text: '* * 0 * *', problem: 'beginning of range (0) below minimum (1): 0' },
    { text: '5-1 * * * *', problem: 'beginning of range (5) beyond end of range (1): 5-1' },
    { text: '1-2-3 * * * *', problem: 'too many hyphens: 1-2-3' },
    { text: '1/2/3 * * * *', problem: 'too many slashes: 1/2/3' },
    { text: '*/0 * * * *', problem: 'step of range should be a positive number: */0' },
    { text: 'x * * * *', problem: 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax' },
    { text: '@never', problem: 'unrecognized descriptor: @never' },
    { text: '@every soon', problem: 'failed to parse duration @every soon: time: invalid duration "soon"' },
    { text: 'TZ=Moon/Base * * * * *', problem: 'provided bad location Moon/Base: unknown time zone Moon/Base' },
  ]) {
    void it(`says what is wrong with "${text}"`, () => assert.equal(parseSchedule(text).problem, problem))
  }
})

void describe('parseDuration', () => {
  for (const [text, expected] of [
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['-5m', -300_000],
    ['0', 0],
    ['10', undefined],
    ['1 h', undefined],
  ] as const) {
    void it(text, () => assert.equal(parseDuration(text), expected))
  }
})

void describe('findTimeZone', () => {
  for (const [name, isThere] of [
    ['UTC', true],
    ['US/Eastern', true],
    ['Etc/GMT+5', true],
    ['europe/berlin', false],
    ['+02:00', false],
    ['../etc/passwd', false],
    ['Nowhere', false],
  ] as const) {
    void it(`${isThere ? 'knows' : 'refuses'} ${name}`, () => assert.equal(findTimeZone(name) !== undefined, isThere))
  }

  void it('tells the offset of a time', () => {
    const render = (name: string): string => {
      const zone = findTimeZone(name)
      return zone === undefined ? '' : renderZonedTime(Date.parse('2026-07-01T12:00:05Z'), zone)
    }
    assert.deepEqual(['UTC', 'America/New_York', 'Asia/Kolkata'].map(render), [
      '2026-07-01T12:00:05Z',
      '2026-07-01T08:00:05-04:00',
      '2026-07-01T17:30:05+05:30',
    ])
  })
})
