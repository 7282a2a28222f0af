/** What test/programs/numerics.c does, step by step, by the simulator's half of each piece. */
import { expected16, matchElo } from '../../sim/decide/elo.ts';
import { P2 } from '../../sim/decide/p2.ts';
import { Prng } from '../../sim/decide/prng.ts';
import { driftPermille, Signature } from '../../sim/decide/signature.ts';
import { Histogram } from '../../sim/kernel/histogram.ts';
import { shape } from '../../sim/spec.ts';

const steps = 2_000_000;
const arms = 12;

/** A hash by the name of each piece. */
export function numerics(): Record<string, string> {
  const pieces = { generator, expected, elo, p2, histogram, signature };
  return Object.fromEntries(
    Object.entries(pieces).map(([name, piece]) => {
      const hash = new Hash();
      piece(new Prng(name), hash);
      return [name, hash.hex()];
    }),
  );
}

/** FNV-1a over the bytes of IEEE doubles, little end first. */
class Hash {
  private state = 2166136261;
  private readonly value = new Float64Array(1);
  private readonly bytes = new Uint8Array(this.value.buffer);

  take(value: number): void {
    this.value[0] = value;
    for (let at = 0; at < 8; at += 1) this.state = Math.imul(this.state ^ this.bytes[at], 16777619);
  }

  hex(): string {
    return (this.state >>> 0).toString(16).padStart(8, '0');
  }
}

function generator(prng: Prng, hash: Hash): void {
  for (let seed = 0; seed < 1000; seed += 1) {
    const other = new Prng(`${seed % 2 === 0 ? '' : 'a seed of more than ten letters '}${seed}`);
    for (let draw = 0; draw < 3; draw += 1) hash.take(other.next());
  }
  for (let step = 0; step < steps; step += 1) hash.take(prng.next());
}

function expected(prng: Prng, hash: Hash): void {
  for (let step = 0; step < steps; step += 1) {
    const own = prng.below(2000 * shape.elo_unit);
    const other = prng.below(2000 * shape.elo_unit);
    hash.take(expected16(own, other));
  }
}

function elo(prng: Prng, hash: Hash): void {
  const ratings = new Int32Array(arms).fill(shape.elo_start * shape.elo_unit);
  for (let step = 0; step < steps; step += 1) {
    const a = prng.below(arms);
    const b = (a + 1 + prng.below(arms - 1)) % arms;
    const chance = prng.below(1000);
    const score = chance === 0 ? 32768 : chance < 998 === a < b ? 65536 : 0;
    hash.take(matchElo(ratings, a, b, score, 1 + prng.below(256)));
  }
  for (const rating of ratings) hash.take(rating);
}

function p2(prng: Prng, hash: Hash): void {
  const high = new P2(0.99);
  const middle = new P2(0.5);
  for (let step = 0; step < steps; step += 1) {
    if (step % 700_000 === 0) high.clear();
    const share = prng.next();
    const value = (share * share * share * 1e5) / (1.0001 - share);
    high.add(step % 1009 === 0 ? -1 : value);
    // Whole numbers, many of them equal.
    middle.add(Math.floor(value / 1000));
    if (step % 700_000 < 20 && high.count > 0) hash.take(high.estimate());
    if (step % 1000 !== 0) continue;
    for (let at = 0; at < 5; at += 1) {
      hash.take(high.heights[at]);
      hash.take(high.positions[at]);
      hash.take(middle.heights[at]);
      hash.take(middle.positions[at]);
    }
  }
  hash.take(high.rejected);
  hash.take(high.estimate());
  hash.take(middle.estimate());
}

function histogram(prng: Prng, hash: Hash): void {
  const all = new Histogram();
  const part = new Histogram();
  for (let step = 1; step <= steps; step += 1) {
    const value = prng.below(2 ** prng.below(48));
    if (step % 3 === 0) part.addMany(value, step % 7);
    else part.add(value);
    if (step % 10_000 !== 0) continue;
    all.merge(part);
    for (let permyriad = 0; permyriad <= 10_000; permyriad += 2500) {
      hash.take(part.quantile(permyriad));
      hash.take(all.quantile(permyriad));
    }
    hash.take(all.total);
    part.clear();
  }
  for (const count of countsOf(all)) hash.take(count);
}

function signature(prng: Prng, hash: Hash): void {
  const window = 5000;
  const all = new Signature();
  const reference = new Signature();
  const now = new Signature();
  for (let step = 1; step <= steps; step += 1) {
    now.add(sizeOf(prng, step, Math.floor(step / window) % 4));
    if (step % window !== 0) continue;
    hash.take(driftPermille(reference, now));
    hash.take(driftPermille(all, now));
    all.addAll(now);
    reference.copyFrom(now);
    now.clear();
  }
  for (let at = 0; at < shape.signature_classes; at += 1) {
    hash.take(all.counts[at]);
    hash.take(all.bytes[at]);
  }
  hash.take(all.total_bytes);
}

/** Two windows of many classes whose range moves, two of a few in which the bytes of the first move and not its count. */
function sizeOf(prng: Prng, step: number, kind: number): number {
  if (kind < 2) return prng.below(8192 * 2 ** prng.below(12 + Math.floor(step / 100_000)));
  if (prng.below(2) === 0) return prng.below(kind === 2 ? 8192 : 65536);
  return 81920 + prng.below(16384);
}

/** The buckets of a histogram, which it keeps to itself. */
export function countsOf(histogram: Histogram): Float64Array {
  return (histogram as unknown as { counts: Float64Array }).counts;
}
