/** Colours for words on stdout: on a terminal or where FORCE_COLOR asks, never where NO_COLOR forbids. */
import picocolors from 'picocolors';

/** picocolors alone would colour a pipe wherever CI is set, and scripts that read us there would see escapes. */
export const paint = picocolors.createColors(
  picocolors.isColorSupported && (process.stdout.isTTY === true || Boolean(process.env.FORCE_COLOR)),
);
