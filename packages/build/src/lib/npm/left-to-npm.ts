/** Why an installation is npm's to make and not ours, in words. Nothing was changed when it is thrown. */
export class LeftToNpm extends Error {
  override name = 'LeftToNpm'
}
