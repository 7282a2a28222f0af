/** What can be set: mode, touch model and threshold first, then every parameter, in groups, with a search. */
import { useState } from 'preact/hooks';
import { configOf, enums, floorOf, mode_names, type ParamName, type TouchModel } from '../../sim/index.ts';
import { formatBytes } from '../sizes.ts';
import { BytesControl, ParamControl } from './controls.tsx';
import { type Made, thresholdsOf } from './explorer.ts';
import { searched } from './param-groups.ts';
import { type Setting, touchOf, withParam } from './view.ts';

interface PanelProps {
  readonly setting: Setting;
  readonly made: Made;
  readonly has_touch: boolean;
  onChange(setting: Setting): void;
}

export function MainControls({ setting, made, has_touch, onChange }: PanelProps) {
  const config = valuesOf(setting);
  const effective = floorOf(config);
  const by_hand = config.mmap_threshold_bytes > 0;
  const set = (name: ParamName, value: number | undefined): void => onChange(withParam(setting, name, value));
  return (
    <>
      <div class="pair">
        <div>
          <label for="mode">mode</label>
          <select
            id="mode"
            value={setting.mode}
            onChange={(event) => onChange({ ...setting, mode: event.currentTarget.value as Setting['mode'] })}
          >
            {mode_names.map((mode) => (
              <option key={mode} value={mode}>
                {mode}
              </option>
            ))}
          </select>
        </div>
        <div>
          <label for="touch">touch model</label>
          <select
            id="touch"
            value={setting.touch ?? ''}
            onChange={(event) =>
              onChange({ ...setting, touch: (event.currentTarget.value || null) as TouchModel | null })
            }
          >
            <option value="">default: {touchOf({ ...setting, touch: null }, has_touch)}</option>
            {enums.touch.map((touch) => (
              <option key={touch} value={touch}>
                {touch}
              </option>
            ))}
          </select>
        </div>
      </div>
      <div class="threshold">
        <div class="param-head">
          <label for="p-mmap_threshold_bytes">mmap_threshold_bytes</label>
          <button
            type="button"
            class="quiet"
            disabled={!by_hand}
            onClick={() => set('mmap_threshold_bytes', undefined)}
          >
            leave to strategy
          </button>
        </div>
        <BytesControl name="mmap_threshold_bytes" config={config} of_mode={0} shown={effective} onChange={set} />
        <p class="why" id="why-mmap_threshold_bytes">
          {by_hand
            ? 'set by hand: blocks from here on are mapped'
            : `strategy ${config.strategy} decides: blocks from here on are mapped`}
        </p>
        <fieldset class="presets">
          <legend>Thresholds of the strategy set</legend>
          {thresholdsOf(made.setup).map((bytes) => (
            <button
              key={bytes}
              type="button"
              aria-pressed={effective === bytes}
              onClick={() => set('mmap_threshold_bytes', bytes)}
            >
              {formatBytes(bytes)}
            </button>
          ))}
        </fieldset>
      </div>
      {made.trouble !== null && (
        <p class="trouble" role="alert">
          {made.trouble}
        </p>
      )}
    </>
  );
}

export function Parameters({ setting, onChange }: PanelProps) {
  const [search, setSearch] = useState('');
  const config = valuesOf(setting);
  const of_mode = configOf(setting.mode);
  const groups = searched(search);
  const changed = Object.keys(setting.over).length;
  return (
    <>
      <div class="param-tools">
        <input
          type="search"
          aria-label="Search parameters"
          placeholder="Search parameters"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        <button type="button" class="quiet" disabled={changed === 0} onClick={() => onChange({ ...setting, over: {} })}>
          Reset to {setting.mode}
        </button>
      </div>
      {groups.map(({ title, names }) => (
        <details key={`${title} ${search === ''}`} open={search !== '' || ['BigCache', 'Frees'].includes(title)}>
          <summary>
            {title}
            <span class="count">{changedIn(names, setting)}</span>
          </summary>
          {names.map((name) => (
            <ParamControl
              key={name}
              name={name}
              config={config}
              of_mode={of_mode[name]}
              onChange={(of, value) => onChange(withParam(setting, of, value))}
            />
          ))}
        </details>
      ))}
      {groups.length === 0 && <p class="empty">No parameter has “{search}” in its name or description.</p>}
    </>
  );
}

function changedIn(names: readonly ParamName[], { over }: Setting): string {
  const count = names.filter((name) => over[name] !== undefined).length;
  return count === 0 ? '' : `${count} changed`;
}

/** Every parameter's value, legal together or not: controls show what was chosen even where it cannot run. */
function valuesOf({ mode, over }: Setting): ReturnType<typeof configOf> {
  return { ...configOf(mode), ...over };
}
