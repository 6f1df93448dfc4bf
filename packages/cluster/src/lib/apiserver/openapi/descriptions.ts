/** What `kubectl explain` tells of the fields that every object has; in our own words, as for no others. */
export const typeDescriptions = {
  apiVersion: 'APIVersion defines in which group and version this object is written, as GROUP/VERSION.',
  kind: 'Kind is the name of the type of this object, in CamelCase.',
  metadata: "Standard object's metadata: name, namespace, labels and what the server keeps of the object.",
} as const

const objectMeta: Readonly<Record<string, string>> = {
  annotations: 'Annotations are texts that tools keep with the object; nothing selects by them.',
  creationTimestamp: 'CreationTimestamp is a timestamp of the moment at which the server created the object.',
  deletionGracePeriodSeconds: 'Seconds that the object has to end from the moment its deletion was asked for.',
  deletionTimestamp: 'DeletionTimestamp is when the object is to be gone; set by the server when it is deleted.',
  finalizers: 'Names of those who have work left before the object may go; it stays until the list is empty.',
  generateName: 'GenerateName is the beginning of a name that the server completes, where none is given.',
  generation: 'Generation counts the changes of what is desired.',
  labels: 'Labels are keys and values by which objects are selected.',
  managedFields: 'ManagedFields tells who set which fields; the server keeps it for server-side apply.',
  name: 'Name is unique among the objects of a resource in a namespace. It never changes.',
  namespace: 'Namespace is where the object lives; empty for objects of the whole cluster. It never changes.',
  ownerReferences: 'OwnerReferences are the objects this one depends on; it is deleted with the last of them.',
  resourceVersion: 'ResourceVersion changes with every write; sent back with a write it guards against lost updates.',
  selfLink: 'SelfLink is no longer set.',
  uid: 'UID tells this object from all others that ever had its name.',
}

const listMeta: Readonly<Record<string, string>> = {
  continue: 'Continue is the token with which the next part of the list is asked for; empty at the end.',
  remainingItemCount: 'RemainingItemCount is how many objects follow this part, where that is known.',
  resourceVersion: 'ResourceVersion is that of the list: a watch from there misses nothing.',
  selfLink: 'SelfLink is no longer set.',
}

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1'
const byDefinition: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map([
  [`${meta}.ObjectMeta`, objectMeta],
  [`${meta}.ListMeta`, listMeta],
])

/** The text about a field, where there is one. */
export function descriptionOf(definition: string, field: string): string | undefined {
  return byDefinition.get(definition)?.[field]
}
