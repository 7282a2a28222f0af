/** A file for speedscope.app: weighted stacks. Format: https://www.speedscope.app/file-format-schema.json. */
import type { ByteSink } from '../hak.ts';
import { TextSink } from '../text-sink.ts';

export interface Weighing {
  readonly name: string;
  readonly unit: 'bytes' | 'nanoseconds' | 'none';
  /** Of each stack. */
  readonly weights: readonly number[];
}

/** The frames of a site's name, outermost first, as speedscope wants them; in a name the innermost comes first. */
export function stackOf(site_name: string): string[] {
  return site_name.split(' < ').reverse();
}

/** `stacks`, outermost frame first, weighed in each of several ways; `about` goes in besides. */
export function writeSpeedscope(
  sink: ByteSink,
  about: { readonly exporter: string; readonly name: string },
  stacks: readonly (readonly string[])[],
  ways: readonly Weighing[],
): void {
  const frames = new Map<string, number>();
  const frameOf = (name: string): number => {
    const frame = frames.get(name) ?? frames.size;
    frames.set(name, frame);
    return frame;
  };
  const samples = stacks.map((stack) => stack.map(frameOf));
  const profiles = ways.map(({ name, unit, weights }) => {
    const endValue = weights.reduce((sum, weight) => sum + weight, 0);
    return { type: 'sampled', name, unit, startValue: 0, endValue, samples, weights };
  });
  const shared = { frames: [...frames.keys()].map((name) => ({ name })) };
  const $schema = 'https://www.speedscope.app/file-format-schema.json';
  const out = new TextSink(sink);
  out.add(`${JSON.stringify({ $schema, ...about, activeProfileIndex: 0, shared, profiles })}\n`);
  out.flush();
}
