/** The style sheet of the report. Colours follow the reader's light or dark setting. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --ink: #1d2126; --faint: #68707a; --line: #dcd8d0; --panel: #f4f1eb;
  --raw-off: #e0a458; --raw-falloc: #c9842f; --raw-full: #9a5f17;
  --qcow2-off: #8fb7d9; --qcow2-metadata: #2f7fb8; --qcow2-falloc: #4e6fa8; --qcow2-full: #2c3f73;
  --qcow2-2M-clusters: #3f9c8c; --qcow2-extended-L2: #7a4fa3; --overlay: #b0566a; --overlay-extended-L2: #7d2f42;
  --metadata: #7a4fa3; --data: #2f8f6b; --reserved: #e0a458; --placed: #f0d9a8; --hole: #e4e1db; --unknown: #c0392b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16191d; --ink: #e7e5e0; --faint: #98a0aa; --line: #343a42; --panel: #1f2429;
    --raw-off: #f0bf7f; --raw-falloc: #dc9a45; --raw-full: #b87a2b;
    --qcow2-off: #a9cbe8; --qcow2-metadata: #4c9fd8; --qcow2-falloc: #6f8fcb; --qcow2-full: #5566b0;
    --qcow2-2M-clusters: #5fc0ae; --qcow2-extended-L2: #a680d0; --overlay: #d07c90; --overlay-extended-L2: #b05a70;
    --metadata: #a680d0; --data: #4cb48c; --reserved: #dc9a45; --placed: #7d6840; --hole: #2c3239; --unknown: #e06050;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 0 0 .5rem; }
.lead { font-size: 1.15rem; margin: 0; }
.faint, figcaption .faint { color: var(--faint); font-weight: normal; font-size: .9em; }
section { margin-top: 2.6rem; }
code { font-family: ui-monospace, "SF Mono", Menlo, monospace; font-size: .9em; }
ul { padding-left: 1.1rem; margin: 0; } li { margin: .35rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--faint); font-weight: 600; font-size: .85rem; }
th:first-child { text-align: left; font-weight: 500; } td.word, thead th:last-child { text-align: left; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .5rem 1.2rem; margin: 1rem 0 0; font-size: .93rem; }
dt { color: var(--faint); } dd { margin: 0; max-width: 44rem; }
figure { margin: 1.4rem 0 0; overflow-x: auto; } figcaption { font-weight: 600; margin-bottom: .3rem; }
svg.chart { display: block; width: 100%; min-width: 30rem; max-width: 46rem; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); dominant-baseline: central; }
svg .label { text-anchor: end; fill: var(--faint); }
svg .whisker { stroke: var(--ink); stroke-width: 1.2; fill: none; opacity: .65; }
.raw-off { fill: var(--raw-off); } .raw-falloc { fill: var(--raw-falloc); } .raw-full { fill: var(--raw-full); }
.qcow2-off { fill: var(--qcow2-off); } .qcow2-metadata { fill: var(--qcow2-metadata); }
.qcow2-falloc { fill: var(--qcow2-falloc); } .qcow2-full { fill: var(--qcow2-full); }
.qcow2-2M-clusters { fill: var(--qcow2-2M-clusters); } .qcow2-extended-L2 { fill: var(--qcow2-extended-L2); }
.overlay { fill: var(--overlay); } .overlay-extended-L2 { fill: var(--overlay-extended-L2); }
.metadata { fill: var(--metadata); } .data { fill: var(--data); } .reserved { fill: var(--reserved); }
.placed { fill: var(--placed); } .hole { fill: var(--hole); } .unknown { fill: var(--unknown); }
.line { fill: none; stroke-width: 1.8; } .axis { fill: none; stroke: var(--line); }
.line.raw-off { fill: none; stroke: var(--raw-off); } .line.raw-falloc { fill: none; stroke: var(--raw-falloc); } .line.raw-full { fill: none; stroke: var(--raw-full); }
.line.qcow2-off { fill: none; stroke: var(--qcow2-off); } .line.qcow2-metadata { fill: none; stroke: var(--qcow2-metadata); } .line.qcow2-falloc { fill: none; stroke: var(--qcow2-falloc); }
.line.qcow2-full { fill: none; stroke: var(--qcow2-full); } .line.qcow2-2M-clusters { fill: none; stroke: var(--qcow2-2M-clusters); } .line.qcow2-extended-L2 { fill: none; stroke: var(--qcow2-extended-L2); }
.line.overlay { fill: none; stroke: var(--overlay); } .line.overlay-extended-L2 { fill: none; stroke: var(--overlay-extended-L2); }
.pictures .row { display: flex; align-items: center; gap: .8rem; margin: .35rem 0; }
.pictures .name { flex: 0 0 8.5rem; text-align: right; color: var(--faint); font-size: .9rem; }
.pictures .track { flex: 1; display: flex; }
svg.strip { display: block; width: 100%; height: 20px; border-radius: 3px; }
.keys { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .9rem; }
.key svg { width: 12px; height: 12px; margin-right: .4rem; border-radius: 2px; vertical-align: -1px; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); color: var(--faint); font-size: .92rem; }
@media (max-width: 40rem) {
  main { padding-top: 1.2rem; } h1 { font-size: 1.6rem; }
  dl { grid-template-columns: 1fr; gap: .1rem; } dd { margin-bottom: .6rem; }
  .pictures .row { flex-direction: column; align-items: stretch; gap: .1rem; } .pictures .name { flex: none; text-align: left; }
}
`;
