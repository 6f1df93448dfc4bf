import { dayMs, isArchived } from './image.ts'
import type { LifecycleAction, LifecycleImage } from './image.ts'
import type { EcrPolicy, EcrRule } from './ecr-policy.ts'

/**
 * What Amazon ECR would do with these images of one repository: every rule is evaluated against all images, then the results are
 * applied by ascending priority. An image is acted on by one rule at most; one that has the tags a rule asks for is
 * kept from all rules of lower priority, even where that rule did not choose it.
 */
export function evaluateEcrPolicy(
  policy: EcrPolicy,
  images: readonly LifecycleImage[],
  now: number,
): LifecycleAction[] {
  const follows = new Set(images.filter(({ subject }) => subject !== undefined).map(({ digest }) => digest))
  const candidates = images.filter(({ digest }) => !follows.has(digest))
  const protectedBy = new Map<LifecycleImage, number>()
  const actions = new Map<LifecycleImage, LifecycleAction>()
  for (const rule of policy.rules) {
    const matching = candidates.filter((image) => isInClass(rule, image) && hasTagsOf(rule, image))
    const selected = selectByCount(rule, matching, now)
    for (const image of selected) {
      if (actions.has(image) || protectedBy.has(image)) continue
      actions.set(image, actionOf(rule, image))
    }
    for (const image of matching) if (!protectedBy.has(image)) protectedBy.set(image, rule.priority)
  }
  return withFollowers(keepParts(actions, candidates), images).toSorted((a, b) => a.pushedAt - b.pushedAt)
}

/** The images a rule acts on, without regard to other rules: the oldest first. */
function selectByCount(rule: EcrRule, matching: readonly LifecycleImage[], now: number): readonly LifecycleImage[] {
  const byAge = matching.toSorted((a, b) => ageStart(rule, a) - ageStart(rule, b))
  if (rule.countType === 'imageCountMoreThan') return byAge.slice(0, Math.max(0, byAge.length - rule.countNumber))
  return byAge.filter((image) => now - ageStart(rule, image) > rule.countNumber * dayMs)
}

/** From when an image's age counts. One that came back from the archive is as young as its return. */
function ageStart({ countType }: EcrRule, image: LifecycleImage): number {
  const { pushedAt, lastPulledAt, archivedAt, activatedAt } = image
  if (countType === 'sinceImageTransitioned') return archivedAt ?? pushedAt
  if (countType === 'sinceImagePulled') return Math.max(lastPulledAt ?? 0, activatedAt ?? 0) || pushedAt
  return activatedAt ?? pushedAt
}

function isInClass({ storageClass }: EcrRule, image: LifecycleImage): boolean {
  return isArchived(image) === (storageClass === 'archive')
}

/** Every entry of the list wants a tag of its own: the list is an "and". */
function hasTagsOf({ tagStatus, tags }: EcrRule, image: LifecycleImage): boolean {
  if (tagStatus === 'any') return true
  if (tagStatus === 'untagged') return image.tags.length === 0
  return image.tags.length > 0 && tags.every((wanted) => image.tags.some((tag) => matchesTag(wanted, tag)))
}

function matchesTag({ kind, text }: EcrRule['tags'][number], tag: string): boolean {
  if (kind === 'prefix') return tag.startsWith(text)
  const parts = text.split('*')
  const [first = '', ...rest] = parts
  const last = rest.pop()
  if (last === undefined) return tag === first
  if (!tag.startsWith(first)) return false
  let from = first.length
  for (const part of rest) {
    const at = tag.indexOf(part, from)
    if (at === -1) return false
    from = at + part.length
  }
  return tag.length - last.length >= from && tag.endsWith(last)
}

function actionOf(rule: EcrRule, { digest, tags, pushedAt }: LifecycleImage): LifecycleAction {
  const action = rule.action === 'expire' ? 'expire' : 'archive'
  return { digest, tags, pushedAt, action, rule: rule.priority, reason: rule.description ?? reasonOf(rule) }
}

function reasonOf({ countType, countNumber, tagStatus, tags }: EcrRule): string {
  const which = tagStatus === 'tagged' ? `tagged ${tags.map(({ text }) => text).join(' and ')}` : tagStatus
  switch (countType) {
    case 'imageCountMoreThan':
      return `${which}: more than ${countNumber}`
    case 'sinceImagePushed':
      return `${which}: pushed more than ${countNumber} days ago`
    case 'sinceImagePulled':
      return `${which}: not pulled for ${countNumber} days`
    default:
      return `${which}: archived more than ${countNumber} days ago`
  }
}

/** A part of an index stays as long as the index does: taking it would break what is kept. */
function keepParts(
  actions: ReadonlyMap<LifecycleImage, LifecycleAction>,
  images: readonly LifecycleImage[],
): LifecycleAction[] {
  const needed = new Set(images.filter((image) => !actions.has(image)).flatMap(({ children }) => children ?? []))
  return actions
    .values()
    .filter(({ digest }) => !needed.has(digest))
    .toArray()
}

/** Signatures and SBOMs go where their subject goes. */
function withFollowers(actions: readonly LifecycleAction[], images: readonly LifecycleImage[]): LifecycleAction[] {
  const done = new Map(actions.map((action) => [action.digest, action]))
  // A referrer may have referrers of its own.
  for (let before = -1; before !== done.size;) {
    before = done.size
    for (const { digest, subject, tags, pushedAt } of images) {
      const leader = subject === undefined || done.has(digest) ? undefined : done.get(subject)
      if (leader !== undefined)
        done.set(digest, { digest, tags, pushedAt, action: leader.action, rule: 0, reason: `follows ${leader.digest}` })
    }
  }
  return [...done.values()]
}
