import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export interface Customer {
  readonly name: string
  readonly email: string
  readonly address: string
}

interface OrderLine {
  readonly sku: string
  readonly name: string
  readonly quantity: number
  readonly priceCents: number
}

export interface Order {
  readonly id: string
  /** `pending`: written down, stock not taken yet. */
  readonly status: 'pending' | 'confirmed' | 'rejected'
  readonly customer: Customer
  readonly lines: readonly OrderLine[]
  readonly totalCents: number
  /** Why it was rejected. */
  readonly note?: string | undefined
  readonly createdAt: string
}

export interface OrderStore extends Disposable {
  /** Writes down a pending order, or returns the one that has this key already. */
  begin(order: {
    readonly id: string
    readonly key: string
    readonly fingerprint: string
    readonly customer: Customer
  }): { readonly order: Order; readonly fingerprint: string }
  confirm(id: string, lines: readonly OrderLine[]): Order
  reject(id: string, note: string): void
  get(id: string): Order | undefined
  /** Confirmed orders, newest first. */
  list(limit: number, offset: number): { readonly items: readonly Order[]; readonly total: number }
  ping(): void
}

type Row = Record<string, unknown>

const schema = `
  CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'rejected')),
    customer TEXT NOT NULL,
    lines TEXT NOT NULL DEFAULT '[]',
    totalCents INTEGER NOT NULL DEFAULT 0,
    note TEXT,
    createdAt TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS orders_by_time ON orders (status, createdAt DESC);
`

/** Opens `orders.db` in `dir`. */
export function openOrderStore(dir: string): OrderStore {
  mkdirSync(dir, { recursive: true })
  const db = new DatabaseSync(join(dir, 'orders.db'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 2000;')
  db.exec(schema)

  const insert = db.prepare(
    "INSERT INTO orders (id, key, fingerprint, status, customer, createdAt) VALUES (?, ?, ?, 'pending', ?, ?) ON CONFLICT (key) DO NOTHING",
  )
  const selectByKey = db.prepare('SELECT * FROM orders WHERE key = ?')
  const selectOne = db.prepare('SELECT * FROM orders WHERE id = ?')
  const selectPage = db.prepare(
    "SELECT * FROM orders WHERE status = 'confirmed' ORDER BY createdAt DESC, rowid DESC LIMIT ? OFFSET ?",
  )
  const count = db.prepare("SELECT count(*) AS total FROM orders WHERE status = 'confirmed'")
  const setConfirmed = db.prepare("UPDATE orders SET status = 'confirmed', lines = ?, totalCents = ? WHERE id = ?")
  const setRejected = db.prepare("UPDATE orders SET status = 'rejected', note = ? WHERE id = ?")
  const get = (id: string): Order | undefined => {
    const row = selectOne.get(id)
    return row && toOrder(row)
  }

  return {
    begin({ id, key, fingerprint, customer }) {
      insert.run(id, key, fingerprint, JSON.stringify(customer), new Date().toISOString())
      const row = selectByKey.get(key)
      if (row === undefined) throw new Error(`Cannot find order "${id}": it was not written`)
      return { order: toOrder(row), fingerprint: String(row['fingerprint']) }
    },
    confirm(id, lines) {
      const totalCents = lines.reduce((sum, { quantity, priceCents }) => sum + quantity * priceCents, 0)
      setConfirmed.run(JSON.stringify(lines), totalCents, id)
      const order = get(id)
      if (order === undefined) throw new Error(`Cannot confirm order "${id}": it is not there`)
      return order
    },
    reject: (id, note) => void setRejected.run(note, id),
    get,
    list: (limit, offset) => ({
      items: selectPage.all(limit, offset).map(toOrder),
      total: Number(count.get()?.['total']),
    }),
    ping: () => void db.prepare('SELECT 1').get(),
    [Symbol.dispose]: () => db.close(),
  }
}

/** Rows are only ever written by this file. */
function toOrder(row: Row): Order {
  return {
    id: String(row['id']),
    status: row['status'] as Order['status'],
    customer: JSON.parse(String(row['customer'])) as Customer,
    lines: JSON.parse(String(row['lines'])) as OrderLine[],
    totalCents: Number(row['totalCents']),
    ...(typeof row['note'] === 'string' ? { note: row['note'] } : {}),
    createdAt: String(row['createdAt']),
  }
}
