import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { detectSurroundings } from './detect.ts'
import type { Surroundings } from './detect.ts'
import { createTree, dockerId, trees } from './tree.fixture.ts'

describe('detectSurroundings', () => {
  const nowhere: Surroundings = { platform: undefined, runtime: undefined, isContainer: false, containerId: undefined }
  const cases: readonly {
    readonly name: string
    readonly files: Readonly<Record<string, string>>
    readonly env?: Readonly<Record<string, string>>
    readonly expected: Partial<Surroundings>
  }[] = [
    { name: 'a machine', files: trees.none, expected: {} },
    { name: 'Docker', files: trees.dockerV2, expected: { runtime: 'docker', containerId: dockerId } },
    { name: 'Docker on version 1', files: trees.dockerV1, expected: { runtime: 'docker', containerId: dockerId } },
    {
      name: 'containerd under Kubernetes',
      files: trees.kubernetesBurstableV2,
      env: { KUBERNETES_SERVICE_HOST: '10.0.0.1' },
      expected: { platform: 'kubernetes', runtime: 'containerd', containerId: dockerId },
    },
    {
      name: 'Kubernetes without service links',
      files: { 'var/run/secrets/kubernetes.io/serviceaccount/token': 'x' },
      expected: { platform: 'kubernetes' },
    },
    {
      name: 'Podman',
      files: { 'run/.containerenv': 'engine="podman-4.9.3"\nname="x"\n' },
      expected: { runtime: 'podman' },
    },
    {
      name: 'CRI-O',
      files: { 'proc/self/cgroup': `0::/kubepods.slice/crio-${dockerId}.scope\n`, 'run/.containerenv': '' },
      expected: { runtime: 'cri-o', containerId: dockerId },
    },
    { name: 'Lambda', files: {}, env: { AWS_LAMBDA_FUNCTION_NAME: 'f' }, expected: { platform: 'lambda' } },
    { name: 'Cloud Run', files: {}, env: { K_SERVICE: 'orders' }, expected: { platform: 'cloud-run' } },
    {
      name: 'ECS',
      files: trees.dockerV2,
      env: { ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/x' },
      expected: { platform: 'ecs', runtime: 'docker', containerId: dockerId },
    },
  ]
  for (const { name, files, env = {}, expected } of cases) {
    it(`knows ${name}`, () => {
      using tree = createTree(files)
      const isContainer = Object.keys(expected).length > 0
      assert.deepEqual(detectSurroundings({ env, root: tree.root }), { ...nowhere, isContainer, ...expected })
    })
  }
})
