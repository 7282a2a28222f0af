/** The one home of every number: the spec itself, the C header made from it, modes, and how settings are read. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseBytes } from '../experiments/command.ts';
import { fingerprint, specHeader } from '../native/spec-to-c.ts';
import { ConfigError, configOf, describeConfig, parseMode, parseSetting } from '../sim/config.ts';
import {
  boundaries_bytes,
  type Config,
  defaults,
  enums,
  mode_names,
  modes,
  type Param,
  param_names,
  params,
  prices,
  shape,
} from '../sim/spec.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

describe('the C header', () => {
  const header = readFileSync(join(import.meta.dirname, '..', 'native', 'core', 'spec.gen.h'), 'utf8');

  test('is what the spec says (else: npm run gen)', () => {
    expect(header).toBe(specHeader());
  });

  test('carries the fingerprint that both native programs are asked for', () => {
    expect(header).toContain(`"${fingerprint()}"`);
  });

  test('has every parameter, in order', () => {
    expect([...header.matchAll(/^ {2}X\((\w+), -?\d+, -?\d+, -?\d+, "/gm)].map(([, name]) => name)).toEqual(
      param_names,
    );
  });
});

describe('parameters', () => {
  test.each(Object.entries(params as Record<string, Param>))(
    '%s starts within its range, in whole numbers',
    (name, param) => {
      const { unit, value, min, max, words, why } = param;
      expect([value, min, max].every(Number.isInteger)).toBe(true);
      expect(min <= value && value <= max).toBe(true);
      expect(defaults[name as keyof Config]).toBe(value);
      expect(why.length).toBeGreaterThan(10);
      if (unit === 'flag') expect([min, max]).toEqual([0, 1]);
      expect(words?.length).toBe(unit === 'word' ? max + 1 : undefined);
    },
  );

  test('the bugs of the original are off', () => {
    expect(param_names.filter((name) => name.startsWith('legacy_') && defaults[name] !== 0)).toEqual([]);
  });
});

describe('strategies', () => {
  test.each(['strategy_geometric_bytes', 'strategy_public_bytes'] as const)(
    '%s: 12 thresholds, strictly increasing, from 512 KiB to 32 MiB exactly, in whole pages',
    (set) => {
      const bytes: readonly number[] = shape[set];
      expect([bytes.length, bytes[0], bytes[11]]).toEqual([12, 512 * KiB, 32 * MiB]);
      for (let at = 1; at < bytes.length; at += 1) expect(bytes[at]).toBeGreaterThan(bytes[at - 1]);
      expect(bytes.filter((each) => each % shape.page_bytes !== 0)).toEqual([]);
    },
  );

  test('the geometric list is within half a page of the 11th root of 64', () => {
    shape.strategy_geometric_bytes.forEach((bytes, at) => {
      expect(Math.abs(bytes - 512 * KiB * 64 ** (at / 11))).toBeLessThanOrEqual(shape.page_bytes / 2 + 1e-6);
    });
  });

  test('the public list is the documented one', () => {
    expect(shape.strategy_public_bytes.map((bytes) => bytes / KiB)).toEqual([
      512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768,
    ]);
  });
});

describe('modes (I39)', () => {
  test('are the documented matrix', () => {
    const shown = mode_names.map((mode) => {
      const { bigcache, batch, thermal, thp_policy, lifecycle } = describeConfig(configOf(mode));
      return [mode, bigcache, batch, thermal, thp_policy, lifecycle];
    });
    expect(shown).toEqual([
      ['MINIMAL', false, false, false, 'off', 'off'],
      ['FAST', true, true, true, 'auto', 'frozen'],
      ['BALANCED', true, true, true, 'auto', 'frozen'],
      ['LEARNING', true, true, true, 'auto', 'learn'],
      ['RESEARCH', true, true, true, 'on', 'learn'],
    ]);
  });

  test('MINIMAL is all off: not even the advice to use no huge pages', () => {
    expect(configOf('MINIMAL').thp_advice).toBe(0);
  });

  test('a mode names parameters that exist, within their ranges', () => {
    for (const row of Object.values(modes) as Partial<Config>[])
      for (const [name, value] of Object.entries(row)) {
        const { min, max } = params[name as keyof Config];
        expect(value >= min && value <= max, name).toBe(true);
      }
  });

  test('are found whatever their case; an unknown one is answered with all five', () => {
    expect(parseMode('balanced')).toBe('BALANCED');
    expect(() => parseMode('TURBO')).toThrow(
      new ConfigError('unknown mode "TURBO"; wanted one of MINIMAL FAST BALANCED LEARNING RESEARCH'),
    );
  });
});

describe('settings', () => {
  test.each([
    ['cold_from_bytes=4MiB', 'cold_from_bytes', 4 * MiB],
    ['cold_from_bytes=4096', 'cold_from_bytes', 4096],
    ['bigcache=off', 'bigcache', 0],
    ['bigcache=true', 'bigcache', 1],
    ['thp_policy=AUTO', 'thp_policy', 2],
    ['strategy_set=public', 'strategy_set', 1],
    ['batch_blocks_max=16', 'batch_blocks_max', 16],
  ] as const)('%s', (text, name, value) => {
    expect(parseSetting(text, parseBytes)).toEqual([name, value]);
  });

  test.each([
    ['bigcache', /"bigcache" is not a setting; wanted param=value/],
    ['colour=red', /unknown parameter "colour"; known are mmap_threshold_bytes .* legacy_header$/],
    ['bigcache=maybe', /^bigcache: found "maybe", wanted true or false$/],
    ['thp_policy=never', /^thp_policy: found "never", wanted one of off on auto$/],
  ])('%s is answered with name, found and wanted', (text, message) => {
    expect(() => parseSetting(text, parseBytes)).toThrow(message);
    expect(() => parseSetting(text, parseBytes)).toThrow(ConfigError);
  });

  test.each([
    [{ strategy: 12 }, 'strategy: found 12, wanted a whole number from 0 to 11'],
    [{ batch_blocks_max: 0 }, 'batch_blocks_max: found 0, wanted a whole number from 1 to 256'],
    [{ warm_from_bytes: 1.5 }, 'warm_from_bytes: found 1.5, wanted a whole number from 1 to 140737488355328'],
    [{ strategy: Number.NaN }, 'strategy: found NaN, wanted a whole number from 0 to 11'],
    [{ bigcache_slots: 3 }, 'bigcache_slots: found 3, wanted a power of two'],
    [{ warm_from_bytes: 4 * MiB }, 'warm_from_bytes: found 4194304, wanted at most cold_from_bytes, 2097152'],
    [{ region_bytes: 4 * MiB + 4096 }, 'region_bytes: found 4198400, wanted a multiple of 2 MiB'],
  ])('%j is refused', (settings, message) => {
    expect(() => configOf('BALANCED', settings)).toThrow(new ConfigError(message));
  });

  test('what is described reads back as the same configuration', () => {
    for (const mode of mode_names) {
      const config = configOf(mode);
      const words = Object.entries(describeConfig(config)).map(([name, value]) =>
        parseSetting(`${name}=${value}`, parseBytes),
      );
      expect(Object.fromEntries(words)).toEqual(config);
    }
  });

  test('go over their mode', () => {
    expect(configOf('MINIMAL', { batch: 1 }).batch).toBe(1);
    expect(configOf('MINIMAL', { batch: 1 }).bigcache).toBe(0);
  });
});

describe('tables', () => {
  test('boundaries are sorted, once each, and name the sizes where a rule changes', () => {
    expect([...boundaries_bytes]).toEqual([...new Set(boundaries_bytes)].sort((a, b) => a - b));
    for (const bytes of [4096, 512 * KiB, MiB, 2 * MiB, 4 * MiB, 8 * MiB, 16 * MiB, 32 * MiB])
      expect(boundaries_bytes).toContain(bytes);
  });

  test('the shares of the score add up to 1', () => {
    expect(shape.score_cpu + shape.score_faults + shape.score_memory).toBeCloseTo(1, 12);
  });

  test('size classes double from 1 to 8 MiB', () => {
    expect(shape.bigcache_class_bytes).toEqual([MiB, 2 * MiB, 4 * MiB, 8 * MiB]);
    expect(shape.bigcache_class_bytes.length).toBe(shape.bigcache_classes);
  });

  test('prices are whole nanoseconds above zero', () => {
    expect(Object.values(prices).filter((price) => !(Number.isInteger(price) && price > 0))).toEqual([]);
  });

  test('the words of an enumeration differ', () => {
    for (const words of Object.values(enums)) expect(new Set(words).size).toBe(words.length);
  });
});
