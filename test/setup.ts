/** Before and after all tests: khugepaged sleeps where this user may say so, for it would change counts at times of its own. */
import { holdKhugepaged } from '../native/khugepaged.ts';

export default function setup(): () => void {
  const release = holdKhugepaged();
  return () => release?.();
}
