/** The command line: reads arguments, runs one subcommand, turns errors into one line and an exit code. */
import { Command, CommanderError } from 'commander';
import { discardUnfinished } from '../traces/file.ts';
import { exit_codes, exitCodeOf, UsageError } from './command.ts';
import { type AddCommand, commands } from './commands.ts';

/** Runs the command line `args` (without node and script) and returns the exit code. */
export async function main(args: readonly string[], version: string): Promise<number> {
  const program = new Command('hakmem')
    .description('Which allocator policy costs my program least, and is that really true?')
    .version(version)
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureOutput({ outputError: (text, write) => write(`hakmem: ${oneLine(text)}\n`) })
    .exitOverride();
  for (const add of await wanted(args)) add(program);
  for (const command of program.commands) command.exitOverride();
  process.exitCode = exit_codes.holds;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      discardUnfinished();
      process.exit(exit_codes.interrupted);
    });
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exit_codes.holds);
    throw error;
  });
  try {
    if (args.length === 0)
      throw new UsageError(`no command; wanted one of ${commandNames(program).join(' ')} (hakmem --help says more)`);
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? exit_codes.holds);
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exit_codes.holds : exit_codes.bad_input;
    }
    const code = exitCodeOf(error);
    if (code === undefined) throw error;
    process.stderr.write(`hakmem: ${oneLine((error as Error).message)}\n`);
    return code;
  }
}

/** The command that is named, or all of them, for help and for a name that there is not. */
async function wanted(args: readonly string[]): Promise<readonly AddCommand[]> {
  const [name] = args;
  const load = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name];
  return load === undefined ? Promise.all(Object.values(commands).map((each) => each())) : [await load()];
}

/** Errors are one line, whoever worded them. */
function oneLine(text: string): string {
  return text
    .trim()
    .replace(/^error: /, '')
    .replaceAll(/\s*\n\s*/g, ' ');
}

function commandNames(program: Command): string[] {
  return program.commands.map((command) => command.name());
}
