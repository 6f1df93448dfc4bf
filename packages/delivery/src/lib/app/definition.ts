import type { BackingEngine } from '../backing/engines.ts'

/** What a person writes in `fairlead.config.ts`. Everything has a default: `{}` is one service in this folder. */
export interface AppDefinition {
  /** Name of the app, a DNS label. Default: the name in `package.json` without its scope. */
  name?: string | undefined
  /** Kubernetes namespace to deliver to, created when absent. Default: the namespace of the kubeconfig context. */
  namespace?: string | undefined
  /**
   * The services by name; a service reaches another at `http://<name>`. Default: one service in the folder of the
   * app, named like it and public at 8080, or the next port that is free where 8080 is taken.
   */
  services?: Readonly<Record<string, ServiceDefinition>> | undefined
  /**
   * Databases and brokers by name, which is their host name too; a service reaches those it names under `uses`. On a cluster each is
   * a StatefulSet with a volume and a generated password, in a compose file a service with a volume.
   */
  backing?: Readonly<Record<string, BackingEngine | BackingDefinition>> | undefined
}

/** A database or broker of an app. */
export interface BackingDefinition {
  engine: BackingEngine
  /** Tag of the official image, such as `'17'` or `'17-alpine'`. Default: a version that was tried. */
  version?: string | undefined
  /** Another image that understands the variables of the official one, such as one in a mirror. Default: the official image. */
  image?: string | undefined
  /** Name of the database and of its account, made at the first start. Default: the name of the app, with `_` for `-`. */
  database?: string | undefined
  /** Size of the volume. Default `'1Gi'`. */
  storage?: string | undefined
  /** User id that the image runs as. Default: that of the official image. */
  user?: number | undefined
  /** Resource requests and limits. Default: requests 100m and 256Mi, limits 1 CPU and 512Mi. */
  resources?: { requests?: ResourceAmounts | undefined; limits?: ResourceAmounts | undefined } | undefined
}

/** One service of an app: a folder with a `package.json`, built to one image and run as one Deployment. */
export interface ServiceDefinition {
  /** Folder of the service, relative to the config file. Default: `./<service name>`. */
  dir?: string | undefined
  /** Port the program listens on, told to it as `PORT`. Default: 8080. */
  port?: number | undefined
  /**
   * Port at which the service is reachable from outside the cluster, by a Service of type LoadBalancer; inside it is
   * reached at this port too. `true` means the same number as `port`. Default: inside the cluster only, at port 80.
   */
  public?: boolean | number | undefined
  /** Number of pods. Default: 1. */
  replicas?: number | undefined
  /** Environment variables: values, or keys of a Secret or ConfigMap that exists in the namespace. */
  env?: Readonly<Record<string, EnvValue>> | undefined
  /**
   * Names under `backing` that this service uses. It gets variables of each: those clients look at by custom (`DATABASE_URL` and `PGHOST`,
   * `PGUSER`, … of PostgreSQL, `REDIS_URL`, `MONGODB_URI`, …) and `<NAME>_URL`. Default: none; all in an app without `services`.
   */
  uses?: readonly string[] | undefined
  /** Files of a ConfigMap made for this service, mounted read-only at `/etc/config` and updated while it runs. */
  config?: Readonly<Record<string, string>> | undefined
  /** Volumes by absolute mount path. The root file system is read-only: what is written needs one (`/tmp` has one). */
  volumes?: Readonly<Record<string, VolumeDefinition>> | undefined
  /** Resource requests and limits. Default: requests 100m and 128Mi, limits 1 CPU and 256Mi. */
  resources?: { requests?: ResourceAmounts | undefined; limits?: ResourceAmounts | undefined } | undefined
  /**
   * How Kubernetes asks whether the service is well: `'http'` asks `/health/live` and `/health/ready`, `'tcp'` opens
   * the port, `'none'` does not ask. Default: `'http'` when the service depends on `@fairlead/service`, else `'tcp'`.
   */
  health?: HealthDefinition | undefined
  /** Time from SIGTERM to SIGKILL. Default: 30. */
  terminationGracePeriodSeconds?: number | undefined
  /**
   * What looks like a credential and may be in the image, each with its reason; beside those of the folder's
   * `fairlead.secrets.yaml`.
   */
  allowSecrets?: readonly AllowedFinding[] | undefined
}

/** A finding of the check for credentials that `fairlead build` does not refuse. */
export interface AllowedFinding {
  /** As the refusal names it, such as `jwt`. */
  readonly rule: string
  /** Path of the file in the image below `/app`; may be a glob. */
  readonly path: string
  readonly reason: string
  /** As the refusal names it. Default: every finding of the rule in that file. */
  readonly fingerprint?: string | undefined
}

/** A value of an environment variable, or where the cluster finds it. */
export type EnvValue = string | number | boolean | EnvSource

/** A key of a Secret or of a ConfigMap. */
export type EnvSource =
  | { readonly secret: string; readonly key: string }
  | { readonly configMap: string; readonly key: string }

/** `'ephemeral'` lives as long as the pod; a ConfigMap or Secret appears as files, read-only. */
export type VolumeDefinition =
  | 'ephemeral'
  | { readonly ephemeral: { readonly sizeLimit: string } }
  | { readonly configMap: string }
  | { readonly secret: string }

/** The names of the health checks, or own HTTP paths for them. */
export type HealthDefinition = 'http' | 'tcp' | 'none' | { readonly live: string; readonly ready: string }

/** Kubernetes quantities: `cpu` in cores (`'250m'`), `memory` in bytes (`'256Mi'`). */
export interface ResourceAmounts {
  cpu?: string | undefined
  memory?: string | undefined
}

/** An app with every default filled in. */
export interface App {
  readonly name: string
  readonly namespace: string | undefined
  /** Absolute folder of the app. */
  readonly dir: string
  /** Absolute path of the file the definition came from: the config file, or `package.json` when there is none. */
  readonly file: string
  /** In the order of the definition. */
  readonly services: readonly AppService[]
  /** Absent when there is none. In the order of the definition. */
  readonly backing?: readonly AppBacking[]
}

/** One database or broker of an {@link App}. */
export interface AppBacking {
  readonly name: string
  readonly engine: BackingEngine
  readonly version: string
  readonly image: string
  /** Empty where the engine has no accounts by name. */
  readonly username: string
  readonly database: string
  readonly storage: string
  readonly user: number
  readonly resources: Resources
}

/** One service of an {@link App}. */
export interface AppService {
  readonly name: string
  /** Absolute folder. */
  readonly dir: string
  /** From the `package.json` of the service; `0.0.0` when it has none. */
  readonly version: string
  readonly port: number
  readonly public: number | undefined
  /** Whether somebody chose the public port; another may be taken otherwise. */
  readonly isPublicPortChosen: boolean
  readonly replicas: number
  readonly env: Readonly<Record<string, EnvValue>>
  /** Names of the {@link AppBacking} it uses; absent when there are none. */
  readonly uses?: readonly string[]
  readonly config: Readonly<Record<string, string>>
  readonly volumes: Readonly<Record<string, VolumeDefinition>>
  readonly resources: Resources
  readonly health: Health
  readonly terminationGracePeriodSeconds: number
  readonly allowSecrets?: readonly AllowedFinding[]
}

/** Requests and limits with every default filled in. */
export interface Resources {
  readonly requests: { readonly cpu: string; readonly memory: string }
  readonly limits: { readonly cpu: string; readonly memory: string }
}

/** How the service is probed. */
export type Health =
  | { readonly kind: 'http'; readonly live: string; readonly ready: string }
  | { readonly kind: 'tcp' }
  | { readonly kind: 'none' }

/**
 * Types the definition of an app in `fairlead.config.ts`, and returns it as it is: the file is checked when it is
 * loaded, where every problem can be told with its line.
 */
export function defineApp(definition: AppDefinition): AppDefinition {
  return definition
}
