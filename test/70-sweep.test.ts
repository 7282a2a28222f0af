/** Sweeps: axes, plans, Sobol points, shards, results, and the commands sweep and query. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readMeasured, readRows, writeMeasured, writeRows } from '../experiments/sweep/results.ts';
import type { Row } from '../experiments/sweep/row.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('result files', () => {
  const rows: Row[] = [
    {
      trace: 'it\'s, a "trace"',
      config_hash: '0e12',
      faults: 2 ** 53 - 1,
      score_total: 1,
      bigcache: true,
      violation: null,
    },
    { trace: 'b', config_hash: '12', faults: 0, score_total: 0.1 + 0.2, bigcache: false, violation: 'x' },
  ];

  test.each(['parquet', 'ndjson'])('rows come back from .%s as they were, to the last bit', async (format) => {
    const path = join(folder, `rows.${format}`);
    expect(await writeRows(path, rows)).toBe(path);
    expect(await readRows(path)).toEqual(rows);
    const before = readFileSync(path);
    await writeRows(path, rows);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('CSV quotes what needs it', async () => {
    const path = join(folder, 'rows.csv');
    await writeRows(path, rows.slice(0, 1));
    expect(readFileSync(path, 'utf8')).toBe(
      'trace,config_hash,faults,score_total,bigcache,violation\n"it\'s, a ""trace""",0e12,9007199254740991,1,true,\n',
    );
  });

  test('a line that is not JSON is named', async () => {
    const path = join(folder, 'broken.ndjson');
    writeFileSync(path, '{"trace":"a"}\n{"trace":\n');
    await expect(readRows(path)).rejects.toThrow(`${path}: line 2: not JSON`);
    await expect(readRows(join(folder, 'none.parquet'))).rejects.toThrow('no such file');
    await expect(readRows(join(folder, 'rows.txt'))).rejects.toThrow('no such file');
  });

  test('measured figures stand in a file beside, and none is left where none were measured', () => {
    const path = join(folder, 'rows.parquet');
    const measured = {
      trace: 'a',
      trace_sha256: '0',
      config_hash: '1',
      predicted_ns: 1,
      measured_ns: [2],
      faults: 3,
      resident_peak_bytes: 4,
      verdict: 'agree',
    } as const;
    writeMeasured(path, [measured]);
    expect(readMeasured(path)).toEqual([measured]);
    writeMeasured(path, []);
    expect(readMeasured(path)).toEqual([]);
  });
});
