/** `hakmem policy new`: a policy module to start from. */
import { Argument, type Command } from 'commander';
import { print, printJson } from './command.ts';
import { template } from './policy/template.ts';

export function addPolicy(program: Command): void {
  program
    .command('policy')
    .description('a policy module of your own to start from, on stdout: docs/OWN-POLICY.md')
    .addArgument(new Argument('<what>', 'new: a commented module that runs as it is').choices(['new']))
    .option('--json', 'print one JSON document')
    .action((_: string, options: { readonly json?: boolean }) => {
      if (options.json) printJson({ module: template });
      else print(template.trimEnd());
    });
}
