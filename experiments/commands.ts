/** The subcommands, a line each. */
import type { Command } from 'commander';
import { addCalibrate } from './calibrate.ts';
import { addCheck } from './check.ts';
import { addDoctor } from './doctor.ts';
import { addExplain } from './explain.ts';
import { addExplore } from './explore.ts';
import { addExport } from './export.ts';
import { addGenerate } from './generate.ts';
import { addImport } from './import.ts';
import { addInfo } from './info.ts';
import { addPolicy } from './policy.ts';
import { addQuery } from './query.ts';
import { addRecord } from './record.ts';
import { addReplay } from './replay.ts';
import { addReport } from './report.ts';
import { addStudy } from './study.ts';
import { addSweep } from './sweep.ts';
import { addTune } from './tune.ts';

/** Adds a subcommand, its options and its action to the program. */
export type AddCommand = (program: Command) => void;

export const commands: readonly AddCommand[] = [
  addRecord,
  addGenerate,
  addImport,
  addInfo,
  addReplay,
  addExplain,
  addCalibrate,
  addSweep,
  addTune,
  addCheck,
  addPolicy,
  addStudy,
  addExport,
  addQuery,
  addReport,
  addExplore,
  addDoctor,
];
