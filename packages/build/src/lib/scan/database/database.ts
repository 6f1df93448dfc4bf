import { DatabaseSync } from 'node:sqlite'
import type { StatementSync } from 'node:sqlite'

import { databaseInvalid } from '../errors.ts'
import type { OsvAdvisory, OsvAffected } from '../osv.ts'

/** What is known about an ecosystem in the database. */
export interface EcosystemStatus {
  /** As OSV names it: `npm`, `Debian:12`, `Alpine:v3.20`. */
  ecosystem: string
  advisories: number
  /** Newest change of an advisory: what the data is as old as. ISO 8601. */
  newest: string
  importedAt: string
}

/** What the database holds. */
export interface DatabaseStatus {
  path: string
  /** Whether there is one. */
  exists: boolean
  advisories: number
  sizeBytes: number
  ecosystems: readonly EcosystemStatus[]
}

/** An advisory with the entry of `affected` that names a package. */
export interface AdvisoryMatch {
  advisory: Omit<OsvAdvisory, 'affected'>
  affected: OsvAffected
}

/** Changes whenever the tables do; a database of another number is made anew by the next import. */
export const FORMAT = 1

const TABLES = `
create table advisory (id text primary key, modified text not null, body text not null) without rowid;
create table affected (ecosystem text not null, name text not null, advisory text not null, body text not null);
create index affected_package on affected (ecosystem, name);
create index affected_advisory on affected (advisory);
create table import (ecosystem text primary key, imported_at text not null, advisories int not null, newest text not null);
pragma user_version = ${FORMAT};
`

/** Advisories in a SQLite file, found by ecosystem and package. Close it. */
export class AdvisoryDatabase implements Disposable {
  readonly path: string
  readonly #db: DatabaseSync
  readonly #find: StatementSync
  readonly #covers: StatementSync

  /** Opens a finished database for reading. Throws `FAIRLEAD_BUILD_SCAN_DATABASE`. */
  constructor(path: string) {
    this.path = path
    try {
      this.#db = new DatabaseSync(path, { readOnly: true })
      const format = (this.#db.prepare('pragma user_version').get() as { user_version: number }).user_version
      if (format !== FORMAT) throw new Error(`its format is ${format}, expected ${FORMAT}`)
      this.#find = this.#db.prepare(
        `select affected.body as affected, advisory.body as advisory from affected
         join advisory on advisory.id = affected.advisory where ecosystem = ? and name = ? order by advisory.id`,
      )
      this.#covers = this.#db.prepare('select 1 from import where ecosystem = ?')
    } catch (error) {
      throw databaseInvalid(path, 'it is no database of advisories that this version reads', error)
    }
  }

  /** Advisories that name the package, withdrawn ones left out. */
  find(ecosystem: string, name: string): AdvisoryMatch[] {
    const rows = this.#find.all(ecosystem, name) as unknown as { affected: string; advisory: string }[]
    return rows
      .map((row) => ({
        advisory: JSON.parse(row.advisory) as AdvisoryMatch['advisory'],
        affected: JSON.parse(row.affected) as OsvAffected,
      }))
      .filter(({ advisory }) => advisory.withdrawn === undefined)
  }

  /** Whether advisories of the ecosystem were ever imported. */
  covers(ecosystem: string): boolean {
    return this.#covers.get(ecosystem) !== undefined
  }

  ecosystems(): EcosystemStatus[] {
    const rows = this.#db
      .prepare('select ecosystem, advisories, newest, imported_at as importedAt from import order by ecosystem')
      .all()
    return rows as unknown as EcosystemStatus[]
  }

  count(): number {
    return (this.#db.prepare('select count(*) as n from advisory').get() as { n: number }).n
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}

/** What an import did. */
export interface ImportCounts {
  added: number
  updated: number
  unchanged: number
  removed: number
  /** Files that hold no advisory. */
  skipped: number
}

/** Writes a database that nobody else has open. All happens in one transaction, which `finish` ends. */
export class DatabaseWriter implements Disposable {
  readonly counts: ImportCounts = { added: 0, updated: 0, unchanged: 0, removed: 0, skipped: 0 }
  readonly #db: DatabaseSync
  readonly #statements: Record<'known' | 'put' | 'clear' | 'affect' | 'seen' | 'note', StatementSync>
  readonly #ecosystems = new Set<string>()

  constructor(path: string) {
    this.#db = new DatabaseSync(path)
    // The file is private until it is renamed to its place, and removed when anything goes wrong.
    this.#db.exec('pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -32000')
    const { user_version: format } = this.#db.prepare('pragma user_version').get() as { user_version: number }
    if (format === 0) this.#db.exec(TABLES)
    this.#db.exec('create temp table seen (id text primary key) without rowid; begin')
    const prepare = (sql: string): StatementSync => this.#db.prepare(sql)
    this.#statements = {
      known: prepare('select modified from advisory where id = ?'),
      put: prepare('insert or replace into advisory values (?, ?, ?)'),
      clear: prepare('delete from affected where advisory = ?'),
      affect: prepare('insert into affected values (?, ?, ?, ?)'),
      seen: prepare('insert or ignore into seen values (?)'),
      note: prepare(
        `insert or replace into import select ?, ?, count(distinct advisory), coalesce(max(modified), '1970-01-01T00:00:00.000Z')
         from affected join advisory on advisory.id = affected.advisory where ecosystem = ?`,
      ),
    }
  }

  /** Stores an advisory unless the same or a newer state of it is there. */
  put(advisory: OsvAdvisory): void {
    const { affected, ...rest } = advisory
    this.#statements.seen.run(advisory.id)
    for (const { ecosystem } of affected) this.#ecosystems.add(ecosystem)
    const known = this.#statements.known.get(advisory.id) as { modified: string } | undefined
    if (known && known.modified >= advisory.modified) {
      this.counts.unchanged += 1
      return
    }
    this.counts[known ? 'updated' : 'added'] += 1
    this.#statements.put.run(advisory.id, advisory.modified, JSON.stringify(rest))
    if (known) this.#statements.clear.run(advisory.id)
    for (const entry of affected) {
      this.#statements.affect.run(entry.ecosystem, entry.name, advisory.id, JSON.stringify(entry))
    }
  }

  /** Drops advisories of the ecosystem (with all its releases) that were not put: the source was the whole set. */
  retain(ecosystem: string): void {
    const releases = `${ecosystem}:`
    const gone = this.#db
      .prepare(
        `select distinct advisory from affected where (ecosystem = ? or substr(ecosystem, 1, ?) = ?)
         and advisory not in (select id from seen)`,
      )
      .all(ecosystem, releases.length, releases) as { advisory: string }[]
    for (const { advisory } of gone) {
      this.#statements.clear.run(advisory)
      this.#db.prepare('delete from advisory where id = ?').run(advisory)
    }
    this.counts.removed += gone.length
    this.#db.exec('delete from seen')
    this.#ecosystems.add(ecosystem)
  }

  /** Ends the transaction. Without it nothing of this import is kept. */
  finish(now: Date): void {
    for (const ecosystem of this.#ecosystems) this.#statements.note.run(ecosystem, now.toISOString(), ecosystem)
    this.#db.exec('commit')
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
