/** Call sites by name. */
import type { Trace } from '../../traces/index.ts';

/** The name a person knows, else the hash of the frames, else the number. */
export function siteNames({ origin }: Trace): (site: number) => string {
  const { sites, has_sites } = origin;
  return (site) => (has_sites ? (sites[site]?.name ?? sites[site]?.hash ?? `site ${site}`) : 'sites not recorded');
}
