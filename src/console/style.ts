/** The one style sheet of the console, and its icon: light and dark by what the reader's system says, from 320 px on. */

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#1f6feb"/><path d="M3.5 5.5h9v5.5h-9z" fill="none" stroke="#fff" stroke-width="1.3"/><path d="m3.5 5.8 4.5 3.2 4.5-3.2" fill="none" stroke="#fff" stroke-width="1.3"/></svg>`;

export const STYLE = `:root {
  color-scheme: light dark;
  --ground: #f5f6f8; --panel: #ffffff; --line: #d9dde3; --text: #1b2028; --quiet: #566070; --link: #0b57c2;
  --main: #0b57c2; --main-text: #ffffff; --good: #187a3c; --warning: #8a5a00; --critical: #b3261e;
  --good-ground: #e6f4ea; --warning-ground: #fdf1d8; --critical-ground: #fce8e6; --neutral-ground: #e9edf2;
  --bar-accepted: #5b7fb5; --bar-delivered: #2f8f55; --bar-failed: #c4473d; --focus: #0b57c2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1318; --panel: #171c23; --line: #2b333e; --text: #dfe4ea; --quiet: #9aa5b3; --link: #82b1ff;
    --main: #2f6fd0; --main-text: #ffffff; --good: #6fcf8e; --warning: #e5b454; --critical: #ff8f85;
    --good-ground: #14301f; --warning-ground: #352a12; --critical-ground: #3b1a18; --neutral-ground: #242c36;
    --bar-accepted: #6f93c9; --bar-delivered: #4fb277; --bar-failed: #e0685e; --focus: #9cc2ff;
  }
}
* { box-sizing: border-box; }
html { font-size: 100%; -webkit-text-size-adjust: 100%; }
/* What has the focus is not under the orders at the lower edge. */
html:has(#found) { scroll-padding-bottom: 4.5rem; }
body { margin: 0; background: var(--ground); color: var(--text); font: 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
a { color: var(--link); text-underline-offset: 0.15em; }
h1, h2, h3 { line-height: 1.25; margin: 0; text-wrap: balance; }
.title { font-size: 1.375rem; margin-bottom: 0.75rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; }
h3 { font-size: 0.9375rem; }
p { margin: 0.25rem 0; overflow-wrap: anywhere; }
code, pre { font: 0.875em/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
ul.plain { list-style: none; margin: 0; padding: 0; }
bdi { overflow-wrap: anywhere; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
main:focus, #flash:focus { outline: none; }
.quiet { color: var(--quiet); }
.hint { font-size: 0.875rem; margin: 0.25rem 0 0.75rem; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 0.5rem; top: -4rem; padding: 0.5rem 0.75rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; z-index: 2; }
.skip:focus { top: 0.5rem; }

.top { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 1.25rem; padding: 0.5rem 1.25rem; background: var(--panel); border-bottom: 1px solid var(--line); }
.brand { display: inline-flex; align-items: center; gap: 0.5rem; font-weight: 650; color: inherit; text-decoration: none; padding: 0.375rem 0; }
.brand-mark { display: inline-block; width: 1.25rem; height: 1.25rem; background: url("/assets/icon.svg") center / contain no-repeat; }
nav ul { display: flex; gap: 0.25rem; list-style: none; margin: 0; padding: 0; }
nav ul a { display: block; padding: 0.375rem 0.75rem; border-radius: 6px; color: var(--quiet); text-decoration: none; }
nav ul a:hover { color: var(--text); background: var(--neutral-ground); }
nav ul a[aria-current] { color: var(--text); background: var(--neutral-ground); font-weight: 600; }
.logout { margin-left: auto; display: flex; align-items: center; gap: 0.75rem; }
main { max-width: 80rem; margin: 0 auto; padding: 1.25rem; }
main > section, #live > section { margin-top: 1.5rem; }
section > h2 { margin-bottom: 0.5rem; }
section > h2 a { color: inherit; }
.foot { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; max-width: 80rem; margin: 0 auto; padding: 0.75rem 1.25rem 2rem; font-size: 0.8125rem; }

button, .button { font: inherit; font-weight: 550; display: inline-block; padding: 0.375rem 0.8125rem; min-height: 2.25rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); color: var(--text); cursor: pointer; text-decoration: none; }
button:hover, .button:hover { border-color: var(--quiet); }
.button-main { background: var(--main); border-color: var(--main); color: var(--main-text); }
.button-danger { color: var(--critical); border-color: currentColor; }
.button-quiet { background: transparent; }
input, select { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--quiet); border-radius: 6px; padding: 0.375rem 0.625rem; min-height: 2.25rem; max-width: 100%; }
input[type=checkbox] { width: 1.0625rem; height: 1.0625rem; min-height: 0; vertical-align: -0.15em; accent-color: var(--main); }
::placeholder { color: var(--quiet); opacity: 1; }
label { font-weight: 550; }
.checks label { font-weight: 400; margin-right: 0.75rem; display: inline-block; padding: 0.25rem 0; }
fieldset { border: 0; margin: 0; padding: 0; min-width: 0; }
legend { font-weight: 550; padding: 0; }

.flash { padding: 0.625rem 0.875rem; border-radius: 6px; margin: 0 0 1rem; border-left: 4px solid; }
.flash-done { background: var(--good-ground); border-color: var(--good); }
.flash-failed { background: var(--critical-ground); border-color: var(--critical); }
ul.flash { padding-left: 1.75rem; }

.dot { display: inline-block; width: 0.625rem; height: 0.625rem; border-radius: 50%; background: var(--quiet); }
.dot-good { background: var(--good); }
.dot-warning { background: var(--warning); border-radius: 2px; transform: rotate(45deg); }
.dot-critical { background: var(--critical); border-radius: 1px; }
.state > .dot { margin-right: 0.25rem; }
.health h2 { font-size: 1.125rem; display: flex; align-items: baseline; gap: 0.5rem; }
.health-good h2 { color: var(--good); }
.problems { list-style: none; margin: 0.75rem 0 0; padding: 0; display: grid; gap: 0.625rem; }
.problem { border-left: 4px solid var(--warning); background: var(--warning-ground); border-radius: 6px; padding: 0.75rem 1rem; }
.problem-critical { border-color: var(--critical); background: var(--critical-ground); }
.problem .quiet { color: inherit; opacity: 0.85; }
.problem-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 0.625rem; }
.problem-foot { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; font-size: 0.875rem; }
.problem-foot:empty { display: none; }
.tag { font-size: 0.75rem; font-weight: 650; }
.tag-critical { color: var(--critical); }
.tag-warning { color: var(--warning); }

.tiles { list-style: none; margin: 1.25rem 0 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
.tile { display: flex; flex-direction: column; padding: 0.75rem 1rem; border-right: 1px solid var(--line); }
.tile:last-child { border-right: 0; }
.tile a { display: flex; flex-direction: column; color: inherit; text-decoration: none; }
.tile a:hover .tile-name { text-decoration: underline; }
.tile-name { font-size: 0.8125rem; color: var(--quiet); }
.tile-value { font-size: 1.625rem; font-weight: 600; line-height: 1.3; }
.tile-below { font-size: 0.8125rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 0.75rem; }
.chart { margin: 0; padding: 0.75rem 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
.chart svg { display: block; width: 100%; height: 3.5rem; margin-top: 0.5rem; }
.chart figcaption .quiet { font-size: 0.8125rem; }
.chart-title { font-weight: 550; }
.chart line { stroke: var(--line); stroke-width: 2; }
.chart-axis { display: flex; justify-content: space-between; font-size: 0.75rem; }
.chart-accepted rect { fill: var(--bar-accepted); }
.chart-delivered rect { fill: var(--bar-delivered); }
.chart-failed rect { fill: var(--bar-failed); }

table { width: 100%; border-collapse: collapse; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; border-spacing: 0; }
th, td { text-align: left; vertical-align: top; padding: 0.5rem 0.75rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { font-size: 0.8125rem; font-weight: 550; color: var(--quiet); white-space: nowrap; }
tbody th { font-weight: 550; }
tbody tr:last-child > * { border-bottom: 0; }
.messages { font-size: 0.875rem; }
@media (min-width: 48.0625rem) {
  .messages { table-layout: fixed; }
  .messages th:nth-child(2) { width: 6.25rem; }
  .messages th:nth-child(3) { width: 6.75rem; }
  .messages th:nth-child(7) { width: 5.5rem; }
  .messages th:nth-child(8) { width: 16%; }
}
.messages tbody tr:hover { background: color-mix(in srgb, var(--neutral-ground) 55%, transparent); }
.number { text-align: right; white-space: nowrap; }
.tick { width: 2.75rem; }
.badge { display: inline-block; white-space: nowrap; font-size: 0.8125rem; font-weight: 600; padding: 0.0625rem 0.5rem; border-radius: 999px; background: var(--neutral-ground); color: var(--text); }
.badge-relayed { background: var(--good-ground); color: var(--good); }
.badge-parked { background: var(--warning-ground); color: var(--warning); }
.badge-bounced, .badge-dropped { background: var(--critical-ground); color: var(--critical); }
.lately { list-style: none; margin: 0; padding: 0.25rem 0; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
.lately li { display: grid; grid-template-columns: 10rem 1fr; gap: 0.75rem; padding: 0.25rem 0.75rem; }
.lately time { color: var(--quiet); white-space: nowrap; }
.refreshed { font-size: 0.8125rem; margin-top: 1rem; }
.stale { opacity: 0.6; }

.search { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.search > input { flex: 1 1 12rem; min-width: 0; }
.filters { flex: 1 0 100%; }
.filters summary { cursor: pointer; color: var(--link); width: max-content; padding: 0.25rem 0; }
.filter-fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 0.5rem 1rem; margin: 0.5rem 0; }
.filter-fields fieldset { grid-column: 1 / -1; }
.filter-fields label, .filter-fields legend { font-size: 0.875rem; }
.filter-fields input:not([type=checkbox]), .filter-fields select { width: 100%; }
.filter-buttons { display: flex; align-items: center; gap: 1rem; }
#understood { margin: 0.75rem 0 0.5rem; }
.acts { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; margin: 0.75rem 0; }
.acts form { display: contents; }
#found .acts { position: sticky; z-index: 2; flex-wrap: nowrap; overflow-x: auto; bottom: 0; padding: 0.625rem 0; margin: 0; background: var(--ground); }
.paging { display: flex; gap: 1.25rem; padding: 0.5rem 0; }

.crumbs { display: flex; gap: 0.75rem; font-size: 0.875rem; margin: 0 0 0.375rem; }
.lead { font-size: 1rem; }
.columns { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 2rem; margin-top: 1.25rem; align-items: start; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.375rem 1rem; margin: 0; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.timeline { list-style: none; margin: 0; padding: 0; }
.chapter, .gap { position: relative; padding: 0 0 1rem 1.5rem; border-left: 2px solid var(--line); margin-left: 0.4375rem; }
.chapter:last-child { border-color: transparent; padding-bottom: 0; }
.chapter::before { content: ""; position: absolute; left: -0.4375rem; top: 0.3125rem; width: 0.75rem; height: 0.75rem; border-radius: 50%; background: var(--panel); border: 2px solid var(--quiet); }
.tone-good::before { background: var(--good); border-color: var(--good); }
.tone-warning::before { background: var(--warning); border-color: var(--warning); }
.tone-critical::before { background: var(--critical); border-color: var(--critical); }
.chapter-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 0.75rem; }
.chapter-head .quiet { font-size: 0.8125rem; }
.chapter p { font-size: 0.875rem; }
.reason { color: var(--quiet); }
.trace summary { cursor: pointer; font-size: 0.8125rem; color: var(--link); width: max-content; }
.trace .facts { font-size: 0.8125rem; }
.hidden-character { font: 0.75em ui-monospace, Menlo, Consolas, monospace; padding: 0 0.25em; margin: 0 0.0625em; border: 1px solid var(--critical); border-radius: 3px; color: var(--critical); white-space: nowrap; }
.message-text { white-space: pre-wrap; max-height: 40rem; overflow: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 0.75rem 1rem; margin: 0; }
.html-part { display: block; width: 100%; height: 28rem; border: 1px solid var(--line); border-radius: 8px; background: #ffffff; color-scheme: light; }
.attachments li { padding: 0.1875rem 0; }
.concerned { max-height: 16rem; overflow: auto; margin: 0.75rem 0; }
.concerned li { padding: 0.1875rem 0; }
dialog { max-width: min(40rem, calc(100vw - 2rem)); color: var(--text); background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem; }
dialog::backdrop { background: rgb(0 0 0 / 0.5); }
.confirm { max-width: 44rem; }

.pickups { display: grid; gap: 1rem; }
.pickup { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; }
.pickup-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 1rem; margin-bottom: 0.75rem; }
.pickup-head form { margin-left: auto; }

.login-page { min-height: 100vh; display: grid; place-items: center; }
.login-page main { padding: 1.25rem; width: 100%; max-width: 24rem; }
.login { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 1.5rem; display: grid; gap: 0.5rem; }
.login h1 { font-size: 1.25rem; display: flex; align-items: center; gap: 0.5rem; }
.login .hint { margin: 0; color: var(--quiet); }
.login button { margin-top: 0.5rem; }

@media (max-width: 48rem) {
  main { padding: 1rem; }
  .top { padding: 0.5rem 1rem; }
  .top nav { order: 3; flex: 1 0 100%; }
  .foot { padding-inline: 1rem; }
  .columns { grid-template-columns: minmax(0, 1fr); gap: 1.25rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tile:nth-child(2n) { border-right: 0; }
  .tile:nth-child(-n + 2) { border-bottom: 1px solid var(--line); }
  .lately li { grid-template-columns: minmax(0, 1fr); gap: 0; }
  table.cards, .cards tbody { display: block; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .cards tr { display: grid; grid-template-columns: minmax(0, 1fr); padding: 0.625rem 0.75rem; border-bottom: 1px solid var(--line); position: relative; }
  .cards tbody tr:last-child { border-bottom: 0; }
  .cards th, .cards td { display: block; position: relative; border: 0; padding: 0.125rem 0 0.125rem 7.75rem; min-height: 1.75rem; text-align: left; white-space: normal; }
  .cards [data-label]::before { content: attr(data-label); position: absolute; left: 0; color: var(--quiet); font-weight: 400; }
  .cards .tick { position: absolute; right: 0.5rem; top: 0.5rem; width: auto; padding: 0.25rem; min-height: 0; z-index: 1; }
  .cards .tick input { width: 1.5rem; height: 1.5rem; }
  .cards th a, .cards td > a, .crumbs a, .paging a, .problem-foot a, .filter-buttons a, h2 a, dd > a, .login p a, .lately a { display: inline-block; min-width: 1.5rem; min-height: 1.5rem; }
  .confirm label { display: inline-block; padding: 0.25rem 0; }
  .trace summary { padding: 0.25rem 0; }
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dd { margin-bottom: 0.5rem; }
  .trace .facts dt { margin-top: 0.25rem; }
}
@media (prefers-reduced-motion: no-preference) { #live { transition: opacity 0.2s; } }
@media (forced-colors: active) { .dot, .chapter::before { forced-color-adjust: none; } }
@media print { .top, .acts, .search { display: none; } }
`;
