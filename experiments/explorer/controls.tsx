/** The controls of one parameter: switch, choice, number, or bytes on a logarithmic slider with the exact value beside it. */
import { useEffect, useState } from 'preact/hooks';
import { type Config, type Param, type ParamName, params } from '../../sim/index.ts';
import { formatBytes, notBytes, readBytes } from '../sizes.ts';
import { writeCount } from './figures.ts';
import { bytesAt, scaleOf, stepAt, stepsOf } from './param-groups.ts';

interface ControlProps {
  readonly name: ParamName;
  readonly config: Config;
  /** The value that the mode gives it. */
  readonly of_mode: number;
  onChange(name: ParamName, value: number | undefined): void;
}

export function ParamControl(props: ControlProps) {
  const { name, config, of_mode, onChange } = props;
  const { unit, why }: Param = params[name];
  const changed = config[name] !== of_mode;
  return (
    <div class={`param ${changed ? 'changed' : ''}`}>
      <div class="param-head">
        <label for={`p-${name}`}>{name}</label>
        {changed && (
          <button
            type="button"
            class="quiet"
            aria-label={`Reset ${name} to the mode's value`}
            onClick={() => onChange(name, undefined)}
          >
            reset
          </button>
        )}
      </div>
      {unit === 'flag' ? (
        <Switch {...props} />
      ) : unit === 'word' ? (
        <Choice {...props} />
      ) : unit === 'bytes' ? (
        <BytesControl {...props} />
      ) : (
        <NumberControl {...props} />
      )}
      <p class="why" id={`why-${name}`}>
        {why}
      </p>
    </div>
  );
}

function Switch({ name, config, onChange }: ControlProps) {
  const on = config[name] === 1;
  return (
    <span class="switch">
      <input
        id={`p-${name}`}
        type="checkbox"
        checked={on}
        aria-describedby={`why-${name}`}
        onChange={(event) => onChange(name, event.currentTarget.checked ? 1 : 0)}
      />
      <span aria-hidden="true">{on ? 'on' : 'off'}</span>
    </span>
  );
}

function Choice({ name, config, onChange }: ControlProps) {
  const { words }: Param = params[name];
  return (
    <select
      id={`p-${name}`}
      value={String(config[name])}
      aria-describedby={`why-${name}`}
      onChange={(event) => onChange(name, Number(event.currentTarget.value))}
    >
      {words!.map((word, at) => (
        <option key={word} value={String(at)}>
          {word}
        </option>
      ))}
    </select>
  );
}

function NumberControl({ name, config, onChange }: ControlProps) {
  const { min, max }: Param = params[name];
  return (
    <Exact
      id={`p-${name}`}
      described={`why-${name}`}
      value={config[name]}
      write={String}
      read={(text) => (/^\d+$/.test(text.trim()) ? Number(text) : undefined)}
      wanted={(text) => `"${text}" is not a whole number`}
      min={min}
      max={max}
      onChange={(value) => onChange(name, value)}
    />
  );
}

/** Also the threshold's control, which shows another value than its own where a strategy decides. */
export function BytesControl({ name, config, onChange, shown }: ControlProps & { readonly shown?: number }) {
  const { min, max }: Param = params[name];
  const scale = scaleOf(name);
  const value = shown ?? config[name];
  return (
    <span class="bytes">
      <input
        type="range"
        min="0"
        max={stepsOf(scale)}
        step="1"
        value={stepAt(scale, value)}
        aria-label={`${name}, slider`}
        aria-valuetext={formatBytes(value)}
        onInput={(event) => onChange(name, bytesAt(scale, Number(event.currentTarget.value)))}
      />
      <Exact
        id={`p-${name}`}
        described={`why-${name}`}
        value={value}
        write={(bytes) => formatExact(bytes)}
        read={readBytes}
        wanted={notBytes}
        min={min}
        max={max}
        onChange={(bytes) => onChange(name, bytes)}
      />
    </span>
  );
}

interface ExactProps {
  readonly id: string;
  readonly described: string;
  readonly value: number;
  write(value: number): string;
  read(text: string): number | undefined;
  wanted(text: string): string;
  readonly min: number;
  readonly max: number;
  onChange(value: number): void;
}

/** A text field that says what is wrong with its text, and changes nothing until it is right. */
function Exact({ id, described, value, write, read, wanted, min, max, onChange }: ExactProps) {
  const [text, setText] = useState(write(value));
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => {
    setText(write(value));
    setTrouble(null);
  }, [value]);
  const commit = (typed: string): void => {
    const found = read(typed);
    if (found === undefined) setTrouble(wanted(typed));
    else if (found < min || found > max)
      setTrouble(`found ${writeCount(found)}, wanted ${writeCount(min)} to ${writeCount(max)}`);
    else {
      setTrouble(null);
      setText(write(found));
      onChange(found);
    }
  };
  return (
    <>
      <input
        id={id}
        type="text"
        class="exact"
        inputMode="text"
        spellcheck={false}
        autocomplete="off"
        value={text}
        aria-invalid={trouble !== null}
        aria-describedby={trouble === null ? described : `${id}-trouble`}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => commit(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter') commit(event.currentTarget.value);
        }}
      />
      {trouble !== null && (
        <span class="field-trouble" id={`${id}-trouble`} role="alert">
          {trouble}
        </span>
      )}
    </>
  );
}

/** "2 MiB" where that is the whole truth, else every byte: 784 KiB, 802817. */
function formatExact(bytes: number): string {
  const short = formatBytes(bytes);
  return readBytes(short) === bytes ? short : String(bytes);
}
