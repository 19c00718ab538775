// Wiring: what happens on the page when something is searched, clicked, dropped or drawn.

import { download, floats, json, sending } from "./api.js";
import { coloursOf, drawLegend, rangeOf } from "./colours.js";
import { GalaxyMap } from "./map.js";
import { VERDICTS, galaxyPanel, lineTable, make, number, uploadPanel } from "./panel.js";

const $ = (id) => document.getElementById(id);
const state = { run: null, map: null, values: null, column: 0, galaxy: null, selected: [], asked: 0 };

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// Runs something that may be refused; the last one asked for wins.
function attempt(work) {
  return async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      say(error.message, true);
    }
  };
}

const colour = attempt(async (place) => {
  state.values = await floats(`/api/columns/${place}`);
  state.column = place;
  paint();
});

function paint() {
  const { name, words } = state.run.columns[state.column];
  const range = words.length ? null : rangeOf(state.values);
  const flags = state.selected.length ? new Uint8Array(state.values.length) : null;
  for (const row of state.selected) flags[row] = 1;
  state.map.colour(coloursOf(state.values, words, range, flags));
  drawLegend($("legend"), name, words, range);
}

const choose = attempt(async (row) => {
  const asked = ++state.asked;
  const galaxy = await json(`/api/galaxies/${row}`);
  if (asked !== state.asked) return;
  show(galaxy);
  if (matchMedia("(max-width: 52rem)").matches) $("panel").scrollIntoView();
  say(`Galaxy ${galaxy.id}${galaxy.place ? "" : ", which has no place on the map"}`);
  history.replaceState(null, "", `#${row}`);
});

function show(galaxy) {
  state.galaxy = galaxy;
  $("found").replaceChildren();
  $("galaxy").replaceChildren(...galaxyPanel(galaxy, state.run, { onPick: choose, onVerdict: judge }));
  $("galaxy").dataset.row = galaxy.row;
  mark(galaxy.look_alikes.galaxies, galaxy.place);
  if (galaxy.place) state.map.goTo(galaxy.place);
}

function mark(near, place) {
  const { places } = state.map;
  const marks = near
    .map(({ row }) => ({ place: [places[2 * row], places[2 * row + 1]] }))
    .filter((one) => Number.isFinite(one.place[0]));
  state.map.mark(place ? [...marks, { place, chosen: true }] : marks);
}

const judge = attempt(async (verdict) => {
  const { galaxy } = state;
  if (!galaxy) return;
  const answer = await json(`/api/galaxies/${galaxy.row}/verdict`, sending({ verdict }));
  galaxy.verdict = answer.verdict;
  for (const button of $("galaxy").querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
  const counts = Object.entries(answer.counts).map(([word, count]) => `${count} ${word}`);
  say(`${galaxy.id}: ${verdict}. In ${state.run.verdicts.file}: ${counts.join(", ")}`);
});

const search = attempt(async (query) => {
  const { galaxies } = await json(`/api/search?q=${encodeURIComponent(query)}`);
  await choose(galaxies[0].row);
  const [{ separation_arcsec: away }] = galaxies;
  if (away > 30) say(`Nothing within 30″; the nearest galaxy is ${number(away / 3600, 3)}° away`);
  if (galaxies.length < 2) return;
  $("found").replaceChildren(make("p", { textContent: `${galaxies.length} galaxies:` }),
    make("p", { className: "verdicts" }, ...galaxies.map((found) => make("button", { type: "button",
      textContent: found.separation_arcsec === null ? `row ${found.row}`
        : `${number(found.separation_arcsec, 1)}″`, onclick: () => choose(found.row) }))));
});

const embed = attempt(async (file) => {
  if (!state.run.uploads) throw new Error("this run has no encoder to embed a cutout with");
  if (file.size > state.run.upload_mb * 2 ** 20) {
    throw new Error(`${file.name} is larger than ${state.run.upload_mb} MiB; cut the galaxy out first`);
  }
  say(`Embedding ${file.name} …`);
  const asked = ++state.asked;
  const answer = await json(`/api/cutout?row=${Number($("file-row").value) || 0}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });
  if (asked !== state.asked) return;
  state.galaxy = null;
  delete $("galaxy").dataset.row;
  $("found").replaceChildren();
  $("galaxy").replaceChildren(...uploadPanel(file.name, answer, state.run, choose));
  mark(answer.look_alikes.galaxies, null);
  say(`Look-alikes of ${file.name}`);
});

const select = attempt(async (rows) => {
  state.selected = rows;
  paint();
  $("selection").hidden = rows.length === 0;
  if (!rows.length) return say("No galaxy selected");
  const { count, galaxies } = await json("/api/selection", sending({ rows }));
  const first = galaxies.length < count ? `, the first ${galaxies.length} listed` : "";
  $("selected").textContent = `${count.toLocaleString("en")} galaxies selected${first}`;
  $("lines").replaceChildren(...lineTable(galaxies, choose));
  say(`${count.toLocaleString("en")} galaxies selected`);
});

function lasso(on) {
  $("lasso").setAttribute("aria-pressed", String(on));
  state.map.lasso = on ? { corners: null, show: drawLasso } : null;
  if (on) say("Draw around galaxies on the map; Esc leaves the lasso");
}

function drawLasso(corners) {
  const line = $("lasso-line");
  line.style.left = `${$("map").offsetLeft}px`;
  line.style.top = `${$("map").offsetTop}px`;
  const path = corners.map((corner) => corner.map((at) => at.toFixed(1)).join(" ")).join("L");
  line.firstElementChild.setAttribute("d", path && `M${path}Z`);
}

function listen() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search($("query").value);
  });
  $("colour").addEventListener("change", (event) => colour(Number(event.target.value)));
  $("lasso").addEventListener("click", () => lasso(!state.map.lasso));
  $("in-view").addEventListener("click", () => select(state.map.inView()));
  $("fit").addEventListener("click", () => state.map.fit());
  $("clear").addEventListener("click", () => select([]));
  for (const kind of ["csv", "fits"]) {
    const save = () => download(`/api/selection/${kind}`, { rows: state.selected }, `selection.${kind}`);
    $(kind).addEventListener("click", attempt(save));
  }
  $("file").addEventListener("change", (event) => {
    if (event.target.files.length) embed(event.target.files[0]);
    event.target.value = "";
  });
  listenForDrops();
  listenForKeys();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.map.draw());
}

function listenForDrops() {
  const { body } = document;
  body.addEventListener("dragover", (event) => {
    event.preventDefault();
    body.classList.add("dropping");
  });
  body.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) body.classList.remove("dropping");
  });
  body.addEventListener("drop", (event) => {
    event.preventDefault();
    body.classList.remove("dropping");
    if (event.dataTransfer.files.length) embed(event.dataTransfer.files[0]);
  });
}

function listenForKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return lasso(false);
    const typing = event.target.closest("input, select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const verdict = VERDICTS.find(([, , key]) => key === event.key);
    if (verdict) judge(verdict[0]);
    else if (event.key === "l") lasso(!state.map.lasso);
    else if (event.key === "/") $("query").focus();
    else return;
    event.preventDefault();
  });
}

function introduce(run) {
  $("title").textContent = `${run.name}: ${run.galaxies.toLocaleString("en")} galaxies`;
  document.title = `${run.name} · ssl_photoz explorer`;
  const cautions = [
    run.simulated && "SIMULATED: these galaxies are simulated; nothing here is about the sky.",
    !run.calibrated && "Uncalibrated 8-bit source: brightness is in display units.",
  ].filter(Boolean);
  $("caution").textContent = cautions.join(" ");
  $("caution").hidden = !cautions.length;
  $("drop").hidden = !run.uploads;
  $("colour").replaceChildren(...run.columns.map(({ name }, place) =>
    make("option", { value: String(place), textContent: name })));
}

async function start() {
  const [run, places, values] = await Promise.all([
    json("/api/run"), floats("/api/places"), floats("/api/columns/0")]);
  state.run = run;
  state.values = values;
  introduce(run);
  state.map = new GalaxyMap($("map"), places, { onPick: choose, onLasso: select });
  paint();
  listen();
  say(run.unplaced ? `${run.unplaced} galaxies have no place on the map` : "");
  if (/^#\d+$/.test(location.hash)) await choose(Number(location.hash.slice(1)));
  await state.map.shown;
  document.body.dataset.ready = Math.round(performance.now());
}

start().catch((error) => say(error.message, true));
