/* The explorer: the list of marts, what is said of the chosen one, and Perspective, which draws it.
 *
 * Perspective's bundle is made for notebooks, but defines <perspective-viewer> for any page, and exports `worker`,
 * which starts its engine in this browser. A mart's Arrow file is given to that engine whole; there is no server.
 *
 * The address says what is seen: #<mart> is a mart's start view, #<mart>/<view> any other. It is kept up to date, so
 * that it can be shared.
 */

const catalogue = JSON.parse(document.getElementById("catalogue").textContent);
const marts = new Map(catalogue.marts.map((mart) => [mart.name, mart]));
const $ = (id) => document.getElementById(id);
const viewer = $("viewer");
const dark = matchMedia("(prefers-color-scheme: dark)");
const wide = matchMedia("(min-width: 1100px)");
const number = new Intl.NumberFormat("en");

// What of a view goes into an address. The theme, the title and whether settings are open are the reader's own.
const VIEW = ["plugin", "plugin_config", "columns", "columns_config", "group_by", "split_by", "filter", "sort",
  "aggregates", "expressions", "group_rollup_mode", "split_rollup_mode"];
const DECIDING = ["plugin", "columns", "group_by", "split_by", "filter", "sort"];
// Charts on maps would fetch their maps from other hosts; who defines their elements first keeps them out.
const MAPS = ["map-scatter", "map-line", "map-density"];

let client; // the engine, once it is needed
let shown = null; // the mart that the viewer shows
let startView = null; // its start view, as Perspective spells it
let table = null;
const UNSETTLED = { inGroups: [], seen: [], plugin: null };
let settled = UNSETTLED; // what the view that was settled last shows, and as what
let linkTold = ""; // what was wrong with the link's view
let failed = false; // whether Perspective shows an error
let showing = Promise.resolve(); // what the viewer is busy with
let turn = 0; // of the newest choice: what an earlier one still does is dropped

/* ---- The list ---- */

function element(tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  return made;
}

function listMarts() {
  const asked = $("search").value.trim().toLowerCase();
  const groups = [];
  for (const kind of catalogue.kinds) {
    const items = [];
    for (const mart of catalogue.marts.filter((one) => one.kind === kind)) {
      const column = mart.columns.find((one) => one.name.toLowerCase().includes(asked));
      const inName = `${mart.name} ${mart.meaning}`.toLowerCase().includes(asked);
      if (asked && !inName && !column) continue;
      const link = element("a", undefined, { href: `#${mart.name}`, title: mart.meaning });
      if (mart === shown) link.setAttribute("aria-current", "page");
      link.append(element("b", mart.name), element("span", mart.meaning));
      if (asked && !inName) link.append(element("span", `has ${column.name}`, { className: "found" }));
      const item = element("li");
      item.append(link);
      items.push(item);
    }
    if (items.length) {
      const list = element("ul");
      list.append(...items);
      groups.push(element("h2", kind), list);
    }
  }
  $("list").replaceChildren(...groups);
  $("none-found").hidden = groups.length > 0;
}

function showList(open) {
  $("marts").classList.toggle("open", open);
  $("open-marts").setAttribute("aria-expanded", String(open));
}

/* ---- What is said of a mart ---- */

function describe(mart) {
  document.title = `${mart.name} · Explorer · Tidemark`;
  $("name").textContent = mart.name;
  $("meaning").textContent = mart.meaning;
  const facts = [`${number.format(mart.of_rows)} ${mart.of_rows === 1 ? "row" : "rows"}`];
  if (mart.last_day) facts.push(mart.since ? `to ${mart.last_day}` : `${mart.first_day} to ${mart.last_day}`);
  if (mart.owner) facts.push(`ask ${mart.owner}`);
  $("facts").textContent = facts.join(" · ");
  const rest = mart.description.slice(mart.description.startsWith(mart.meaning) ? mart.meaning.length : 0);
  $("about").replaceChildren(
    ...[mart.meaning, ...rest.split("\n")].map((text) => text.trim()).filter(Boolean).map((text) => element("p", text)),
  );
  $("column-list").replaceChildren(...mart.columns.map((column) => {
    const name = element("dt", column.name);
    name.append(element("small", column.type === "string" ? "text" : column.type));
    const row = element("div");
    row.append(name, element("dd", column.description || "Not described."));
    return row;
  }));
}

function notice(text, warn = false, action = null) {
  const made = element("div", undefined, { className: warn ? "notice warn" : "notice" });
  made.append(element("p", text));
  if (action) made.append(element("button", action.words, { type: "button", onclick: action.act }));
  return made;
}

/* What a reader has to know of the mart, and of the view they made. */
function showNotices(mart, view = null, isEmpty = false) {
  const notices = [];
  if (isEmpty) {
    const open = view.filter.find(([, , value]) => value === null || value === "");
    const text = open ? `The filter on ${open[0]} needs a value.` : "No row fits the filter.";
    const act = () => viewer.restore({ filter: [] });
    notices.push(notice(text, true, { words: "Remove the filter", act }));
  }
  if (linkTold) notices.push(notice(linkTold, true));
  if (mart.stale) notices.push(notice(`These rows are not up to date: stale since ${mart.stale}.`, true));
  if (mart.rows < mart.of_rows) {
    notices.push(notice(
      `Only the newest ${number.format(mart.rows)} of ${number.format(mart.of_rows)} rows are here`
        + `${mart.since ? `, those since ${mart.since}` : ""}: a browser is not given more. SQL has all of them.`, true,
    ));
  }
  const few = catalogue.smallest_group === null ? "too few" : `fewer than ${catalogue.smallest_group}`;
  if (mart.small_groups === "empty") {
    notices.push(notice(
      `A dash instead of a figure: it is withheld, not zero, as the group had ${few} devices. Sums leave it out.`,
    ));
  } else if (mart.small_groups === "left out") {
    notices.push(notice(
      `What groups of ${few} devices did that day is left out here, to keep people from being recognised.`,
    ));
  }
  const wrong = view ? summedWrongly(mart, view) : [];
  if (wrong.length) {
    const names = wrong.map((column) => column.name).join(", ");
    const ways = Object.fromEntries(wrong.map(({ name }) => [name, mart.start.aggregates[name]]));
    notices.push(notice(`${names}: not to be summed, but this view does. The sum means nothing.`, true, {
      words: "Undo the sum",
      act: () => viewer.restore({ aggregates: { ...view.aggregates, ...ways } }),
    }));
  }
  $("notices").replaceChildren(...notices);
}

function summedWrongly(mart, view) {
  if (!view.group_by.length && !view.split_by.length) return [];
  return mart.columns.filter((column) =>
    ["integer", "float"].includes(column.type) && !column.summable && view.columns.includes(column.name)
      && (view.aggregates[column.name] ?? "sum") === "sum");
}

function showColumns(open) {
  $("columns").hidden = !open;
  $("open-columns").setAttribute("aria-expanded", String(open));
}

/* The meaning of a column whose name is under the pointer, wherever Perspective wrote it. */
function explain(event) {
  if (!shown) return;
  for (const node of event.composedPath().slice(0, 4)) {
    const text = node instanceof HTMLElement && node.childElementCount < 4 ? node.textContent.trim() : "";
    const column = text && shown.columns.find((one) => one.name === text);
    if (column) {
      node.title = column.description;
      return;
    }
  }
}

/* ---- The address ---- */

function readAddress() {
  const [name, packed] = location.hash.slice(1).split("/");
  return { mart: marts.get(name), name, packed };
}

/* What differs from the start view, and always what decides which rows and figures are seen. */
function differing(view) {
  const start = JSON.parse(startView);
  return Object.fromEntries(Object.entries(view).filter(([key, value]) =>
    DECIDING.includes(key) || textOf(value) !== textOf(start[key])));
}

function pack(view) {
  const bytes = new TextEncoder().encode(textOf(view));
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

/* Perspective gives the keys of an object in any order; two views that are the same have the same text. */
function textOf(value) {
  const isObject = (one) => one !== null && typeof one === "object" && !Array.isArray(one);
  return JSON.stringify(value, (_, one) => (isObject(one) ? Object.fromEntries(Object.entries(one).sort()) : one));
}

function partOf(config) {
  return Object.fromEntries(VIEW.filter((key) => key in config).map((key) => [key, config[key]]));
}

/* After every change of the view: give it what Perspective forgot, write the address, and say what has to be said. */
async function noteView() {
  const mart = shown;
  if (!mart || startView === null) return;
  const view = await settle(mart);
  if (mart !== shown || startView === null) return;
  const isAlone = viewer.getPanelNames().length === 1;
  const isStart = isAlone && textOf(view) === startView;
  const packed = isStart ? "" : `/${pack(isAlone ? differing(view) : { workspace: await viewer.saveWorkspace() })}`;
  if (mart !== shown || startView === null) return;
  history.replaceState(null, "", `#${mart.name}${packed}`);
  $("reset").disabled = isStart;
  showNotices(mart, view, await hasNoRows(view));
}

/* Whether the filter leaves nothing. A chart would go on showing what it showed before: it is drawn again. */
async function hasNoRows(view) {
  if (!view.filter.length) return false;
  try {
    const rows = await (await viewer.getView()).num_rows();
    const isEmpty = rows === 0 || (rows === 1 && view.group_by.length > 0 && view.group_rollup_mode === "rollup");
    if (isEmpty) await viewer.resize(true);
    return isEmpty;
  } catch { // it was replaced meanwhile, and its successor is looked at next
    return false;
  }
}

/* The view as it is, with what Perspective forgets. It sums every number, and drops how a column is to be aggregated
 * and written while that is not shown, or with another chart. So a column gets its own way when it comes to be shown:
 * what is not to be summed is not, and moments are in UTC. A reader who then has it summed is warned. */
async function settle(mart) {
  const view = partOf(await viewer.save());
  const inGroups = view.group_by.length || view.split_by.length ? view.columns : [];
  const seen = [...view.columns, ...view.group_by, ...view.split_by];
  const before = settled.plugin === view.plugin ? settled.seen : [];
  const ways = Object.entries(mart.start.aggregates)
    .filter(([name]) => inGroups.includes(name) && !settled.inGroups.includes(name) && !(name in view.aggregates));
  const formats = Object.entries(mart.start.columns_config)
    .filter(([name]) => seen.includes(name) && !before.includes(name) && !(name in view.columns_config));
  settled = { inGroups, seen, plugin: view.plugin };
  if (!ways.length && !formats.length) return view;
  await viewer.restore({
    aggregates: { ...view.aggregates, ...Object.fromEntries(ways) },
    columns_config: { ...view.columns_config, ...Object.fromEntries(formats) },
  });
  return partOf(await viewer.save());
}

/* ---- The view ---- */

function showState(kind, text, part = null) {
  $("state").hidden = kind === null;
  $("state").className = `state ${kind ?? ""}`;
  viewer.inert = kind !== null;
  $("state-text").textContent = text ?? "";
  $("again").hidden = kind !== "bad";
  if (part === null) $("progress").removeAttribute("value");
  else $("progress").value = part;
}

async function startEngine() {
  for (const map of MAPS) customElements.define(`perspective-viewer-charts-${map}`, class extends HTMLElement {});
  const engine = await import(new URL(catalogue.engine, document.baseURI));
  await engine.ready;
  const started = await engine.worker();
  await viewer.load(started);
  await viewer.resetThemes(["Pro Light", "Pro Dark"]);
  return started;
}

async function fetchRows(mart, isNewest) {
  const answer = await fetch(mart.file);
  if (!answer.ok) throw new Error(`the file of ${mart.name} is not there (${answer.status})`);
  const bytes = new Uint8Array(mart.bytes);
  let have = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (have + value.length > mart.bytes) break;
    bytes.set(value, have);
    have += value.length;
    const size = mart.bytes > 2e5 ? ` · ${(have / 1e6).toFixed(1)} of ${(mart.bytes / 1e6).toFixed(1)} MB` : "";
    if (isNewest()) showState("busy", `Fetching ${mart.name}${size}`, have / mart.bytes);
  }
  if (have !== mart.bytes) throw new Error(`the file of ${mart.name} is not whole; a newer publication may be there`);
  return bytes.buffer;
}

const theme = () => (dark.matches ? "Pro Dark" : "Pro Light");

async function open(mart, packed) {
  const mine = ++turn;
  const isNewest = () => mine === turn;
  shown = mart;
  startView = null;
  linkTold = "";
  $("intro").hidden = true;
  $("mart").hidden = false;
  describe(mart);
  showNotices(mart);
  showList(false);
  listMarts();
  showState("busy", `Fetching ${mart.name}`);
  try {
    if (!mart.rows) {
      showState("empty", `${mart.name} has no rows in this publication.`);
      return;
    }
    let view = null;
    try {
      view = packed ? unpack(packed) : null;
    } catch {
      linkTold = "The link's view cannot be read; the start view is shown.";
    }
    const rows = await fetchRows(mart, isNewest);
    client ??= startEngine();
    const engine = await client;
    if (!isNewest()) return;
    showState("busy", `Reading ${number.format(mart.rows)} rows`);
    const name = `${mart.name} ${mine}`;
    const made = await engine.table(rows, { name });
    const show = () => (isNewest() ? showTable(mart, name, made, view) : made.delete({ lazy: true }));
    showing = showing.catch(() => undefined).then(show);
    await showing;
    if (!isNewest()) return;
    showState(null);
    await noteView();
    say(linkTold || `${mart.name} is shown.`);
  } catch (error) {
    if (!isNewest()) return;
    console.error(error);
    failed = true;
    client = client && (await client.catch(() => undefined)) ? client : undefined;
    showState("bad", `${mart.name} cannot be shown: ${error?.message ?? error}.`);
  }
}

/* Let the viewer show a table: its start view, and then what the link says. One after the other. */
async function showTable(mart, name, made, view) {
  const before = table;
  table = made;
  if (failed) await viewer.resetError();
  failed = false;
  await keepOnePanel();
  const own = { table: name, title: mart.name, theme: theme(), settings: wide.matches };
  // With another chart Perspective drops formats that come with it: it is chosen before there is a row to draw.
  const none = [[mart.columns[0].name, "is null", null]];
  await viewer.restore({ ...own, ...blank(), plugin: mart.start.plugin, group_by: [], split_by: [], filter: none });
  await viewer.restore({ ...blank(), ...mart.start });
  await before?.delete({ lazy: true });
  settled = UNSETTLED;
  const start = textOf(await settle(mart));
  if (view) {
    try {
      await restoreLink(view, own);
    } catch {
      await viewer.resetError();
      await keepOnePanel();
      await viewer.restore({ ...blank(), ...mart.start });
      linkTold = "The link's view does not fit this mart any more; the start view is shown.";
    }
  }
  if (mart === shown) startView = start;
}

/* What a link holds: a view, or several beside each other. */
async function restoreLink({ workspace, ...view }, { table, title, theme }) {
  if (!workspace) return viewer.restore(partOf(view));
  const panels = Object.entries(workspace.panels).map(([id, panel]) => [id, { ...partOf(panel), table, title, theme }]);
  return viewer.restoreWorkspace({ ...workspace, panels: Object.fromEntries(panels) });
}

/* A view without anything of the one before. */
function blank() {
  return { plugin_config: {}, columns_config: {}, expressions: {}, aggregates: {}, sort: [], filter: [] };
}

async function keepOnePanel() {
  const [, ...others] = viewer.getPanelNames?.() ?? [];
  for (const panel of others) await viewer.removePanel(panel);
}

function say(text) {
  $("said").textContent = text;
}

function route() {
  const { mart, name, packed } = readAddress();
  if (mart) return open(mart, packed);
  turn += 1;
  shown = null;
  $("mart").hidden = true;
  $("intro").hidden = false;
  listMarts();
  if (name) say(`There is no mart ${name} here.`);
  return undefined;
}

/* ---- What the reader does ---- */

$("needs-http").hidden = true;
$("search").addEventListener("input", listMarts);
$("open-marts").addEventListener("click", () => showList(!$("marts").classList.contains("open")));
$("open-columns").addEventListener("click", () => showColumns($("columns").hidden));
$("close-columns").addEventListener("click", () => { showColumns(false); $("open-columns").focus(); });
$("reset").addEventListener("click", async () => {
  if (!shown) return;
  await keepOnePanel();
  await viewer.restore({ ...blank(), ...shown.start });
  await noteView();
});
$("share").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    $("share").textContent = "Copied";
  } catch {
    $("share").textContent = "Copy the address above";
  }
  say($("share").textContent);
  setTimeout(() => { $("share").textContent = "Copy link"; }, 2500);
});
$("again").addEventListener("click", route);
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the view's
  $("view").focus();
});
$("list").addEventListener("click", (event) => {
  // The mart that is shown already: its start view, which its address alone would not bring back.
  if (event.target.closest("a")?.getAttribute("aria-current")) $("reset").click();
  showList(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("columns").hidden) showColumns(false);
  if (event.key === "/" && !/INPUT|TEXTAREA|PERSPECTIVE/.test(document.activeElement?.tagName)) {
    event.preventDefault();
    $("search").focus();
  }
});
viewer.addEventListener("perspective-config-update", noteView);
viewer.addEventListener("mouseover", explain);
dark.addEventListener("change", () => shown && startView !== null && viewer.restore({ theme: theme() }));
addEventListener("hashchange", route);
listMarts();
route();
