/** The subcommands, a line each. */
import type { Command } from 'commander';
import { addRecord } from './record.ts';

/** Adds a subcommand, its options and its action to the program. */
export type AddCommand = (program: Command) => void;

export const commands: readonly AddCommand[] = [addRecord];
