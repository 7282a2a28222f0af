/** Our own mistakes: on in every build. Mirrors hak_assert in native/core/hak.h. */
export function assert(holds: boolean, claim: string): asserts holds {
  if (!holds) throw new Error(`assertion failed: ${claim}`);
}
