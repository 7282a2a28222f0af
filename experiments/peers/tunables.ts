/** GLIBC_TUNABLES: as an environment. */
import { type GlibcSettings, tunablesText } from '../../sim/peers/glibc/settings.ts';

const variable = 'GLIBC_TUNABLES';

export function tunablesEnv(settings: GlibcSettings): Readonly<Record<string, string>> {
  const text = tunablesText(settings);
  return text === '' ? {} : { [variable]: text.slice(variable.length + 1) };
}
