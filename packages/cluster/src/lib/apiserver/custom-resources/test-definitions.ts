import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { TestServer } from '../test-server.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- tests change definitions in every place
type Any = any

export const widgets = '/apis/example.com/v1/namespaces/default/widgets'

/** The schema of a widget. */
export function widgetSchema(): Any {
  return {
    openAPIV3Schema: {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          required: ['size'],
          properties: {
            size: { type: 'integer', minimum: 0 },
            colour: { type: 'string', enum: ['red', 'green'], default: 'red' },
            note: { type: 'string' },
          },
        },
        status: { type: 'object', properties: { ready: { type: 'boolean' }, replicas: { type: 'integer' } } },
      },
    },
  }
}

/** A definition with everything a definition may have; `names` replaces some of its names. */
export function widgetDefinition({ names = {} }: { names?: Record<string, unknown> } = {}): Any {
  const all = { plural: 'widgets', kind: 'Widget', shortNames: ['wd'], categories: ['all'], ...names }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${all.plural}.example.com` },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: all,
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: widgetSchema(),
          subresources: {
            status: {},
            scale: { specReplicasPath: '.spec.size', statusReplicasPath: '.status.replicas' },
          },
          selectableFields: [{ jsonPath: '.spec.colour' }],
          additionalPrinterColumns: [
            { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
            { name: 'Colour', type: 'string', jsonPath: '.spec.colour', priority: 1 },
            { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
          ],
        },
      ],
    },
  }
}

/** Creates a definition and expects it to be good. */
export async function createWidgets(api: TestServer, definition: Any = widgetDefinition()): Promise<void> {
  const { status, body } = await api.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', definition)
  assert.equal(status, 201, JSON.stringify(body))
}

/** Replaces a definition, whatever its version is now, and expects that to be good. */
export async function replaceDefinition(api: TestServer, definition: Any): Promise<void> {
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${definition.metadata.name}`
  const { resourceVersion } = (await api.call('GET', path)).body.metadata
  const next = { ...definition, metadata: { ...definition.metadata, resourceVersion } }
  const { status, body } = await api.call('PUT', path, next)
  assert.equal(status, 200, JSON.stringify(body))
}

/** Waits until something is true, for ten seconds at most. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'waited for ten seconds')
    await nextTurn()
  }
}
