/** Formats that the events of a trace are written in, a line each. */
import { alk } from './alk.ts';
import { csv } from './csv.ts';
import type { TraceExporter } from './exporter.ts';
import { speedscope } from './speedscope.ts';
import { text } from './text.ts';
import { wl } from './wl.ts';

export const exporters: { readonly [format: string]: TraceExporter } = { text, csv, wl, alk, speedscope };
