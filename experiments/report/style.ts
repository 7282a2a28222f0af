/** The page's looks: colours are variables, for light, dark and paper; figures use the same. */

const light = `
  --ground: #f6f7f8; --panel: #ffffff; --ink: #1a1f26; --muted: #57606b; --grid: #e3e6ea; --edge: #cdd3da;
  --accent: #0a5fb8; --soft: #e7f0fa; --good: #0f6a38; --bad: #a82018; --bad-soft: #fbeae8;
  --series-1: #0a5fb8; --series-2: #6b7580; --series-3: #b4560a; --series-4: #177a58;
  --heat-least: #edf3fa; --heat-most: #174a86; --heat-least-ink: #1a1f26; --heat-most-ink: #ffffff;
  --cause-1: #8a95a1; --cause-2: #7b5cb8; --cause-3: #177a58; --cause-4: #d99a2b; --cause-5: #b4560a; --cause-6: #0a5fb8;`;
const dark = `
  --ground: #14171b; --panel: #1b1f25; --ink: #e6e9ed; --muted: #a0a9b4; --grid: #2b3138; --edge: #3b434d;
  --accent: #6cb0f5; --soft: #1f2f41; --good: #6fce9a; --bad: #ff9a8f; --bad-soft: #3a2220;
  --series-1: #6cb0f5; --series-2: #98a3af; --series-3: #f0a35e; --series-4: #62c8a0;
  --heat-least: #1e2a38; --heat-most: #8cc3fa; --heat-least-ink: #e6e9ed; --heat-most-ink: #0e1318;
  --cause-1: #98a3af; --cause-2: #b59cf0; --cause-3: #62c8a0; --cause-4: #f2d06b; --cause-5: #f0a35e; --cause-6: #6cb0f5;`;

/** For figures that stand alone. */
export const palette = { light, dark } as const;

export const style = `
:root { color-scheme: light dark; ${light} }
@media screen and (prefers-color-scheme: dark) { :root { ${dark} } }
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3em; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .6em; }
h3 { font-size: 1rem; margin: 1.4em 0 .4em; overflow-wrap: anywhere; }
p { max-width: 74ch; margin: .5em 0; overflow-wrap: anywhere; }
a { color: var(--accent); }
code, pre { font: .92em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.muted, figcaption, .note { color: var(--muted); }
section { background: var(--panel); border: 1px solid var(--edge); border-radius: 8px; padding: 20px 24px; margin: 18px 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 0; margin: .8em 0 0; list-style: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -9999px; }
.skip:focus { left: 12px; top: 12px; background: var(--panel); padding: 6px 12px; z-index: 9; }
.loud { background: var(--bad-soft); border-left: 4px solid var(--bad); padding: 8px 14px; max-width: none; }
.verdict { font-size: 1.1rem; font-weight: 600; max-width: none; }
.good { color: var(--good); } .bad { color: var(--bad); }
.setting { display: flex; align-items: flex-start; gap: 10px; flex-wrap: wrap; }
pre {
  background: var(--soft); border-radius: 6px; padding: 10px 14px; margin: .4em 0; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; flex: 1 1 300px;
}
button, select, input {
  font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--edge); border-radius: 5px; padding: 4px 10px;
  max-width: 100%;
}
label { min-width: 0; max-width: 100%; }
button { cursor: pointer; } button:hover:not(:disabled) { border-color: var(--accent); }
button:disabled { color: var(--muted); cursor: default; }
.wide { overflow-x: auto; margin: .6em 0; }
table { border-collapse: collapse; }
caption { text-align: left; color: var(--muted); padding: 4px 0; }
th, td { padding: 4px 12px 4px 0; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; vertical-align: top; }
th { font-weight: 600; }
th:first-child, td:first-child, .words { text-align: left; }
td.words, th.words { white-space: normal; overflow-wrap: anywhere; min-width: 9.5em; }
td.setting-cell { text-align: left; }
.setting-cell code { display: block; white-space: nowrap; font-size: .85em; }
table.brief { font-size: .93em; }
table.brief thead th { white-space: normal; vertical-align: bottom; }
table.brief .words { min-width: 7em; }
.figures > .wide { flex: 1 1 400px; min-width: 0; }
td code { overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 16px 28px; align-items: flex-start; }
figure { margin: .6em 0; flex: 1 1 420px; min-width: 0; max-width: 100%; overflow-x: auto; }
figure > svg.figure { display: block; width: 100%; height: auto; min-width: 400px; fill: currentColor; overflow: visible; }
figcaption { max-width: 74ch; font-size: .92em; }
.key { display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 0; margin: .3em 0; list-style: none; font-size: .92em; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.key i.line { height: 3px; vertical-align: 4px; }
details { margin: .6em 0; } summary { cursor: pointer; }
summary h3 { display: inline; }
fieldset { border: 1px solid var(--edge); border-radius: 6px; margin: .6em 0; padding: 8px 14px; columns: 240px; }
fieldset label { display: block; overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin: .6em 0; }
#rows th { padding: 0; background: var(--panel); position: sticky; top: 0; }
#rows th button { border: 0; padding: 6px 12px 6px 0; font-weight: 600; text-align: inherit; width: 100%; }
#rows th[aria-sort] button { color: var(--accent); }
#rows-scroll { max-height: 70vh; overflow: auto; border: 1px solid var(--edge); border-radius: 6px; padding: 0 12px; }
tr.best { background: var(--soft); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 18px; margin: .6em 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
footer { padding-bottom: 40px; color: var(--muted); font-size: .92em; }
[hidden] { display: none !important; }
@media (max-width: 640px) {
  main, header, footer { padding: 0 10px; } section { padding: 14px 12px; border-radius: 0; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .4em; }
}
@media print {
  :root { color-scheme: light; background: #ffffff; }
  body { background: #ffffff; font-size: 10.5pt; }
  main, header, footer { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--edge); border-radius: 0; padding: 10px 0; }
  nav, .tools, .pages, #columns, .skip, button.copy { display: none; }
  figure, tr, pre, dl { break-inside: avoid; } h2, h3 { break-after: avoid; }
  figure { flex: 1 1 45%; overflow: visible; } figure > svg.figure { min-width: 0; }
  #rows-scroll { max-height: none; overflow: visible; border: 0; padding: 0; font-size: 8pt; }
  #rows th { position: static; } .wide { overflow: visible; } td, th { white-space: normal; }
  table.brief { font-size: 8pt; } .setting-cell code { white-space: normal; overflow-wrap: anywhere; }
  * { print-color-adjust: exact; }
}
`;
