/** glibc as a policy of a replay: `--set glibc_trim_threshold_bytes=64MiB`. */
import { touchIndex } from '../../sim/kernel/touch.ts';
import {
  type GlibcSetting,
  type GlibcSettings,
  glibc_setting_names,
  glibc_settings,
  tunablesText,
} from '../../sim/peers/glibc/settings.ts';
import { Glibc } from '../../sim/peers/glibc.ts';
import { besideGlibc } from './glibc-beside.ts';
import { glibcMachine } from './glibc-machine.ts';
import type { ConfiguredPeer, PeerParameter, PeerPlace, PeerPolicy } from './policies.ts';
import { tunablesEnv } from './tunables.ts';

export const glibcPolicy: PeerPolicy = {
  name: 'glibc',
  parameters: glibc_setting_names.map((name): PeerParameter => {
    const { unit, max, why } = glibc_settings[name];
    return { name: parameterOf(name), unit, min: 0, max, why };
  }),
  configured(values) {
    const entries = glibc_setting_names.flatMap((name) => {
      const value = values.get(parameterOf(name));
      return value === undefined ? [] : [[name, value] as const];
    });
    return configured(Object.fromEntries(entries) as GlibcSettings);
  },
};

function configured(settings: GlibcSettings): ConfiguredPeer {
  const model = ({ profile, touch, threads }: PeerPlace): Glibc =>
    new Glibc(settings, glibcMachine(profile, threads), touchIndex(touch));
  return {
    setting: tunablesText(settings),
    library: { allocator: 'glibc', env: tunablesEnv(settings) },
    model,
    replayed: model,
    async hold(trace, { profile, touch }) {
      const { model, real, first_difference, misplaced } = await besideGlibc(trace, settings, profile, touch);
      return {
        model,
        real: real.rounds[0],
        version: real.allocator.version,
        decisions_equal: misplaced === 0,
        first_difference:
          first_difference === null
            ? null
            : {
                event: first_difference.event,
                field: first_difference.field,
                sim: first_difference.model,
                native: first_difference.real,
              },
        tolerance: 0,
        unpromised: null,
      };
    },
  };
}

function parameterOf(name: GlibcSetting): string {
  return `glibc_${name}${glibc_settings[name].unit === 'bytes' ? '_bytes' : ''}`;
}
