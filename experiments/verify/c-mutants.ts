/**
 * Small wrong changes to C source, one at a time: each comparison, logical operator, sign and integer constant.
 *
 * Left out: comments, strings and preprocessor lines; the arguments of assertions, which are checks themselves; the
 * arguments of `refuse` and `__attribute__`, which are words for people and the compiler; names of whole tables.
 */

export type MutationKind = 'comparison' | 'logic' | 'sign' | 'constant';

export interface Mutant {
  readonly file: string;
  /** Of the function it lies in; empty outside. */
  readonly function: string;
  readonly line: number;
  /** The source line, trimmed. */
  readonly text: string;
  readonly kind: MutationKind;
  /** "< -> <=", with " #2" where the line, or one of the same words in the same function, has the same change twice. */
  readonly mutation: string;
  readonly offset: number;
  readonly length: number;
  readonly replacement: string;
}

interface Token {
  readonly kind: 'word' | 'number' | 'sign';
  readonly text: string;
  readonly offset: number;
}

const swaps: Readonly<Record<string, { readonly kind: MutationKind; readonly to: readonly string[] }>> = {
  '<': { kind: 'comparison', to: ['<=', '>='] },
  '<=': { kind: 'comparison', to: ['<', '>'] },
  '>': { kind: 'comparison', to: ['>=', '<='] },
  '>=': { kind: 'comparison', to: ['>', '<'] },
  '==': { kind: 'comparison', to: ['!='] },
  '!=': { kind: 'comparison', to: ['=='] },
  '&&': { kind: 'logic', to: ['||'] },
  '||': { kind: 'logic', to: ['&&'] },
  '!': { kind: 'logic', to: [''] },
  '+': { kind: 'sign', to: ['-'] },
  '-': { kind: 'sign', to: ['+'] },
  '+=': { kind: 'sign', to: ['-='] },
  '-=': { kind: 'sign', to: ['+='] },
};
const silent_calls = new Set(['hak_assert', '_Static_assert', 'refuse', '__attribute__']);
const table_names = /_NAMES$|^HAK_STRATEGY_.*_BYTES$|^HAK_BIGCACHE_CLASS_BYTES$/;
const token_pattern =
  /(?<space>\s+|\/\*[\s\S]*?\*\/|\/\/[^\n]*)|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<number>\d[\w.]*)|(?<word>[A-Za-z_]\w*)|(?<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)/gy;

/** Every mutant of `source`, in order of place. */
export function mutantsOf(file: string, source: string): Mutant[] {
  const tokens = tokensOf(source);
  const constants = enumConstants(tokens);
  const lines = source.split('\n');
  const line_of = lineNumbers(source);
  const seen = new Map<string, number>();
  const mutants: Mutant[] = [];
  const scope = new Scope();
  for (const [at, token] of tokens.entries()) {
    scope.enter(tokens, at);
    if (scope.silent) continue;
    for (const { kind, to, name } of changesOf(tokens, at, constants, scope.in_enum)) {
      const line = line_of(token.offset);
      const key = `${scope.function} ${lines[line - 1].trim()} ${name}`;
      const times = (seen.get(key) ?? 0) + 1;
      seen.set(key, times);
      mutants.push({
        file,
        function: scope.function,
        line,
        text: lines[line - 1].trim(),
        kind,
        mutation: times > 1 ? `${name} #${times}` : name,
        offset: token.offset,
        length: token.text.length,
        replacement: to,
      });
    }
  }
  return mutants;
}

export function applied(source: string, mutant: Mutant): string {
  return source.slice(0, mutant.offset) + mutant.replacement + source.slice(mutant.offset + mutant.length);
}

/** Where a token stands: its function, inside an enumeration, inside what is left out. */
class Scope {
  function = '';
  silent = false;
  in_enum = false;
  private braces = 0;
  private parentheses = 0;
  private silent_from = -1;
  private called = '';

  enter(tokens: readonly Token[], at: number): void {
    const { text } = tokens[at];
    const before = tokens[at - 1]?.text ?? '';
    if (text === '(') {
      if (this.parentheses === 0 && this.braces === 0) this.called = before;
      if (this.silent_from < 0 && silent_calls.has(before)) this.silent_from = this.parentheses;
      this.parentheses += 1;
    } else if (text === ')') {
      this.parentheses -= 1;
      if (this.parentheses === this.silent_from) this.silent_from = -1;
    } else if (text === '{') {
      if (this.braces === 0 && before === ')') this.function = this.called;
      if (before === 'enum') this.in_enum = true;
      this.braces += 1;
    } else if (text === '}') {
      this.braces -= 1;
      this.in_enum = false;
      if (this.braces === 0) this.function = '';
    }
    this.silent = this.silent_from >= 0;
  }
}

interface Change {
  readonly kind: MutationKind;
  readonly to: string;
  readonly name: string;
}

function changesOf(tokens: readonly Token[], at: number, constants: ReadonlySet<string>, in_enum: boolean): Change[] {
  const { kind, text } = tokens[at];
  if (kind === 'sign') {
    const swap = swaps[text];
    // A sign that opens an expression is mutated like one between two; "!" before "=" was read as "!=".
    return swap === undefined
      ? []
      : swap.to.map((to) => ({ kind: swap.kind, to, name: `${text} -> ${to === '' ? 'nothing' : to}` }));
  }
  if (text === 'true' || text === 'false') {
    const to = text === 'true' ? 'false' : 'true';
    return [{ kind: 'constant', to, name: `${text} -> ${to}` }];
  }
  const is_constant =
    kind === 'number' || (text.startsWith('HAK_') && !table_names.test(text)) || (constants.has(text) && !in_enum);
  return is_constant && tokens[at + 1]?.text !== '('
    ? [{ kind: 'constant', to: `(${text} + 1)`, name: `${text} -> ${text} + 1` }]
    : [];
}

function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  const bare = source.replace(/^[ \t]*#(?:[^\n\\]|\\[\s\S])*/gm, (line) => line.replace(/[^\n]/g, ' '));
  for (const match of bare.matchAll(token_pattern)) {
    const { space, text, number, word } = match.groups!;
    if (space !== undefined) continue;
    const kind = number !== undefined ? 'number' : word !== undefined ? 'word' : 'sign';
    tokens.push({ kind, text: text !== undefined ? '""' : match[0], offset: match.index });
  }
  return tokens;
}

/** The names that enumerations of this file give to integers. */
function enumConstants(tokens: readonly Token[]): Set<string> {
  const names = new Set<string>();
  for (let at = 0; at < tokens.length; at += 1) {
    if (tokens[at].text !== 'enum' || tokens[at + 1]?.text !== '{') continue;
    for (let each = at + 2; tokens[each].text !== '}'; each += 1)
      if (tokens[each].kind === 'word' && ['{', ','].includes(tokens[each - 1].text)) names.add(tokens[each].text);
  }
  return names;
}

function lineNumbers(source: string): (offset: number) => number {
  const starts = [0];
  for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (starts[middle] <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
