/** Reads what the page carries: its boot document, and traces as base64, decoded in slices so that nothing freezes. */
import { type Boot, type BootTrace, boot_id, served_path, traceId } from './boot.ts';

const slice_characters = 2 ** 20;

export function readBoot(): Boot {
  return JSON.parse(document.getElementById(boot_id)!.textContent) as Boot;
}

/** The bytes of a trace that came with the page. */
export async function blobOf(trace: BootTrace, signal: AbortSignal): Promise<Blob> {
  if (trace.from === 'server') {
    const response = await fetch(served_path, { signal });
    if (!response.ok) throw new Error(`${trace.path}: the server of this page answered ${response.status}`);
    return response.blob();
  }
  const base64 = document.getElementById(traceId(trace.name))!.textContent;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < base64.length; at += slice_characters) {
    parts.push(Uint8Array.from(atob(base64.slice(at, at + slice_characters)), (each) => each.charCodeAt(0)));
    await new Promise((resolve) => setTimeout(resolve));
    signal.throwIfAborted();
  }
  return new Blob(parts);
}
