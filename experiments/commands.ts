/** The subcommands, a line each: loaded by name, because all of them together take longer to load than most runs. */
import type { Command } from 'commander';

/** Adds a subcommand, its options and its action to the program. */
export type AddCommand = (program: Command) => void;

/** In the order of the help. */
export const commands: Readonly<Record<string, () => Promise<AddCommand>>> = {
  record: async () => (await import('./record.ts')).addRecord,
  generate: async () => (await import('./generate.ts')).addGenerate,
  import: async () => (await import('./import.ts')).addImport,
  info: async () => (await import('./info.ts')).addInfo,
  filter: async () => (await import('./filter.ts')).addFilter,
  anonymize: async () => (await import('./anonymize.ts')).addAnonymize,
  symbols: async () => (await import('./symbols.ts')).addSymbols,
  replay: async () => (await import('./replay.ts')).addReplay,
  explain: async () => (await import('./explain.ts')).addExplain,
  calibrate: async () => (await import('./calibrate.ts')).addCalibrate,
  sweep: async () => (await import('./sweep.ts')).addSweep,
  tune: async () => (await import('./tune.ts')).addTune,
  compare: async () => (await import('./compare.ts')).addCompare,
  'verify-setting': async () => (await import('./verify-setting.ts')).addVerifySetting,
  gate: async () => (await import('./gate.ts')).addGate,
  diff: async () => (await import('./diff.ts')).addDiff,
  bench: async () => (await import('./bench.ts')).addBench,
  check: async () => (await import('./check.ts')).addCheck,
  policy: async () => (await import('./policy.ts')).addPolicy,
  study: async () => (await import('./study.ts')).addStudy,
  export: async () => (await import('./export.ts')).addExport,
  query: async () => (await import('./query.ts')).addQuery,
  report: async () => (await import('./report.ts')).addReport,
  explore: async () => (await import('./explore.ts')).addExplore,
  doctor: async () => (await import('./doctor.ts')).addDoctor,
};
