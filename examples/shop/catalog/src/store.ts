import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { seedProducts } from './seed.ts'

export interface Product {
  readonly sku: string
  readonly name: string
  readonly description: string
  readonly category: string
  /** Name of a picture that whoever shows the product knows how to draw. */
  readonly picture: string
  readonly priceCents: number
  readonly stock: number
}

interface ProductFilter {
  readonly search: string
  readonly category: string
  readonly skus?: readonly string[] | undefined
  readonly limit: number
  readonly offset: number
}

interface ReservationLine {
  readonly sku: string
  readonly quantity: number
  /** The price the customer has seen; a reservation at another one is refused. */
  readonly priceCents?: number | undefined
}

/** A line at the price and by the name it had when it was reserved. */
interface ReservedLine {
  readonly sku: string
  readonly quantity: number
  readonly name: string
  readonly priceCents: number
}

export type Obstacle =
  | { readonly sku: string; readonly reason: 'out-of-stock'; readonly wanted: number; readonly available: number }
  | {
      readonly sku: string
      readonly reason: 'price-changed'
      readonly expectedCents: number
      readonly priceCents: number
    }

/** Thrown when a reservation asks for more than there is, or at another price. Nothing has been taken. */
export class ReservationRefused extends Error {
  override readonly name = 'ReservationRefused'
  readonly obstacles: readonly Obstacle[]

  constructor(obstacles: readonly Obstacle[]) {
    super(
      obstacles
        .map(
          ({ sku, reason }) =>
            `${sku} (${reason === 'out-of-stock' ? 'not enough in stock' : 'the price has changed'})`,
        )
        .join(', '),
    )
    this.obstacles = obstacles
  }
}

export interface ProductStore extends Disposable {
  find(filter: ProductFilter): { readonly items: readonly Product[]; readonly total: number }
  get(sku: string): Product | undefined
  categories(): readonly string[]
  /**
   * Takes all lines out of stock or none. A second call with the same id changes nothing and returns what the first took.
   *
   * @throws {ReservationRefused}
   */
  reserve(
    id: string,
    lines: readonly ReservationLine[],
  ): { readonly lines: readonly ReservedLine[]; readonly isNew: boolean }
  ping(): void
}

const schema = `
  CREATE TABLE IF NOT EXISTS products (
    sku TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    category TEXT NOT NULL,
    picture TEXT NOT NULL,
    priceCents INTEGER NOT NULL CHECK (priceCents > 0),
    stock INTEGER NOT NULL CHECK (stock >= 0)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, lines TEXT NOT NULL, createdAt TEXT NOT NULL) STRICT;
`

/** Opens `catalog.db` in `dir`; a new one is filled with the shop's assortment. */
export function openProductStore(dir: string): ProductStore {
  mkdirSync(dir, { recursive: true })
  const db = new DatabaseSync(join(dir, 'catalog.db'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 2000;')
  db.exec(schema)
  seed(db)

  const where = `(:search = '' OR name LIKE :pattern ESCAPE '\\' OR description LIKE :pattern ESCAPE '\\')
    AND (:category = '' OR category = :category)
    AND (:skus IS NULL OR sku IN (SELECT value FROM json_each(:skus)))`
  const select = db.prepare(`SELECT * FROM products WHERE ${where} ORDER BY name LIMIT :limit OFFSET :offset`)
  const count = db.prepare(`SELECT count(*) AS total FROM products WHERE ${where}`)
  const selectOne = db.prepare('SELECT * FROM products WHERE sku = ?')
  const selectCategories = db.prepare('SELECT DISTINCT category FROM products ORDER BY category')
  const take = db.prepare('UPDATE products SET stock = stock - ? WHERE sku = ?')
  const selectReservation = db.prepare('SELECT lines FROM reservations WHERE id = ?')
  const insertReservation = db.prepare('INSERT INTO reservations (id, lines, createdAt) VALUES (?, ?, ?)')
  const one = (sku: string): Product | undefined => selectOne.get(sku) as Product | undefined

  return {
    find({ search, category, skus, limit, offset }) {
      const pattern = `%${search.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`
      const filter = { search, pattern, category, skus: skus === undefined ? null : JSON.stringify(skus) }
      const items = select.all({ ...filter, limit, offset }) as unknown as Product[]
      return { items, total: Number(count.get(filter)?.['total']) }
    },
    get: one,
    categories: () => selectCategories.all().map((row) => String(row['category'])),
    reserve(id, lines) {
      const earlier = selectReservation.get(id)
      if (earlier) return { lines: JSON.parse(String(earlier['lines'])) as ReservedLine[], isNew: false }
      return transact(db, () => {
        const obstacles = lines.flatMap((line) => findObstacles(line, one(line.sku)))
        if (obstacles.length > 0) throw new ReservationRefused(obstacles)
        const reserved = lines.map(({ sku, quantity }) => {
          take.run(quantity, sku)
          const { name = '', priceCents = 0 } = one(sku) ?? {}
          return { sku, quantity, name, priceCents }
        })
        insertReservation.run(id, JSON.stringify(reserved), new Date().toISOString())
        return { lines: reserved, isNew: true }
      })
    },
    ping: () => void db.prepare('SELECT 1').get(),
    [Symbol.dispose]: () => db.close(),
  }
}

function findObstacles(line: ReservationLine, product: Product | undefined): Obstacle[] {
  const { sku, quantity } = line
  const { stock: available = 0, priceCents = 0 } = product ?? {}
  if (available < quantity) return [{ sku, reason: 'out-of-stock', wanted: quantity, available }]
  const expectedCents = line.priceCents ?? priceCents
  return expectedCents === priceCents ? [] : [{ sku, reason: 'price-changed', expectedCents, priceCents }]
}

function seed(db: DatabaseSync): void {
  transact(db, () => {
    if (Number(db.prepare('SELECT count(*) AS total FROM products').get()?.['total']) > 0) return
    const insert = db.prepare(
      'INSERT INTO products VALUES (:sku, :name, :description, :category, :picture, :priceCents, :stock)',
    )
    for (const product of seedProducts) insert.run({ ...product })
  })
}

function transact<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
