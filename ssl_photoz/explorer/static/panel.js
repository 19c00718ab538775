// What is said of one galaxy. Text from the run is only ever set as text.

import { densityChart } from "./density.js";

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const number = (value, digits = 4) =>
  value === null || value === undefined ? "—" : Number(value).toFixed(digits);

export const VERDICTS = [["dwarf", "Dwarf", "d"], ["not_dwarf", "Not a dwarf", "n"], ["junk", "Junk", "j"]];

const facts = (pairs) =>
  make("dl", {}, ...pairs.flatMap(([name, value]) => [
    make("dt", { textContent: name }),
    make("dd", { textContent: value }),
  ]));

const picture = (row, text) =>
  make("img", { src: `/api/galaxies/${row}/thumbnail`, alt: text, loading: "lazy" });

export function galaxyPanel(galaxy, run, { onPick, onVerdict }) {
  const head = make("div", { className: "head" },
    run.thumbnails ? picture(galaxy.row, `Galaxy ${galaxy.id}`) : null,
    make("div", {},
      make("h2", { textContent: galaxy.id }),
      facts([
        ["RA, Dec", `${number(galaxy.ra, 5)}, ${number(galaxy.dec, 5)}`],
        ["z measured", number(galaxy.z)],
        ["z estimated", estimated(galaxy)],
      ]),
      galaxy.viewer ? viewerLink(galaxy, run) : null));
  const table = make("details", {}, make("summary", { textContent: "All columns" }),
    facts(galaxy.columns.map(([name, value]) => [name, value === null ? "—" : String(value)])));
  return [head, verdictButtons(galaxy, onVerdict), ...density(galaxy, run),
    ...lookAlikes(galaxy.look_alikes, run, onPick), table];
}

export function uploadPanel(name, answer, run, onPick) {
  const image = make("img", { src: `data:image/jpeg;base64,${answer.picture}`, alt: "The cutout" });
  return [
    make("div", { className: "head" }, image, make("div", {}, make("h2", { textContent: name }),
      make("p", { className: "soft", textContent: "Embedded from the file; not kept." }))),
    ...lookAlikes(answer.look_alikes, run, onPick),
  ];
}

export function lineTable(galaxies, onPick) {
  const names = ["id", "RA", "Dec", "z", "z estimated", "verdict"];
  const head = make("tr", {}, ...names.map((name) => make("th", { textContent: name, scope: "col" })));
  const rows = galaxies.map((galaxy) => make("tr", {},
    make("td", {}, make("button", { type: "button", textContent: galaxy.id,
      onclick: () => onPick(galaxy.row) })),
    ...[number(galaxy.ra, 5), number(galaxy.dec, 5), number(galaxy.z), number(galaxy.z_phot),
      galaxy.verdict || ""].map((textContent) => make("td", { textContent }))));
  return [make("thead", {}, head), make("tbody", {}, ...rows)];
}

function estimated(galaxy) {
  const { density } = galaxy;
  if (!density) return number(galaxy.z_phot);
  return `${number(density.z_phot)} (${number(density.z_lo)} to ${number(density.z_hi)})`;
}

function viewerLink(galaxy, run) {
  const text = run.simulated ? "The real sky there (this galaxy is simulated)" : "Legacy Surveys viewer";
  return make("a", { href: galaxy.viewer, target: "_blank", rel: "noopener noreferrer", textContent: text });
}

function verdictButtons(galaxy, onVerdict) {
  const buttons = VERDICTS.map(([word, label, key]) => {
    const button = make("button", { type: "button", textContent: label, onclick: () => onVerdict(word) });
    button.setAttribute("aria-pressed", String(galaxy.verdict === word));
    button.setAttribute("aria-keyshortcuts", key);
    button.dataset.verdict = word;
    return button;
  });
  const group = make("div", { className: "verdicts" }, ...buttons);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Verdict");
  return group;
}

function density(galaxy, run) {
  if (!galaxy.density) return [];
  return [make("h3", { textContent: "Redshift density" }), densityChart(run.grid, galaxy)];
}

function lookAlikes({ galaxies, repeats }, run, onPick) {
  const title = `Look-alikes, nearest first${repeats ? ` (${repeats} repeats left out)` : ""}`;
  const tiles = galaxies.map((near) => {
    const said = `${near.id}, distance ${number(near.distance)}, redshift ${number(near.z)}`;
    const known = near.z !== null ? `z ${number(near.z)}` : near.z_phot !== null ? `z ≈ ${number(near.z_phot, 3)}` : "z unknown";
    const tile = make("button", { type: "button", title: said, onclick: () => onPick(near.row) },
      run.thumbnails ? picture(near.row, "") : null,
      make("span", { textContent: known }),
      make("span", { textContent: `d ${number(near.distance)}` }));
    tile.setAttribute("aria-label", said);
    return tile;
  });
  return [make("h3", { textContent: title }), make("div", { className: "grid" }, ...tiles)];
}
