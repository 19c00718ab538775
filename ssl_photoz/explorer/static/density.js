// A redshift density as a small drawing: the curve, its median, and the measured redshift.

const SIZE = [360, 130];
const FLOOR = 0.005; // of the peak: what is left and right of it is not drawn

const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

export function densityChart(grid, galaxy) {
  const { pdf, z_phot: median } = galaxy.density;
  const [width, height] = SIZE;
  const peak = Math.max(...pdf, 1e-9);
  const there = pdf.map((value, place) => (value > FLOOR * peak ? place : -1)).filter((n) => n >= 0);
  const known = galaxy.z === null ? [] : [galaxy.z];
  const low = Math.min(grid[there[0] ?? 0], ...known);
  const high = Math.max(grid[there[there.length - 1] ?? grid.length - 1], ...known);
  const margin = 0.05 * (high - low || 0.01);
  const [left, right] = [Math.max(0, low - margin), high + margin];
  const x = (z) => ((z - left) / (right - left)) * width;
  const y = (value) => height - 18 - (value / peak) * (height - 26);
  const steps = grid.map((z, place) => [z, pdf[place]]).filter(([z]) => z >= left && z <= right);
  const line = steps.map(([z, value]) => `${x(z).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "density", role: "img" });
  const said = `Density of redshift between ${left.toFixed(3)} and ${right.toFixed(3)}`;
  chart.setAttribute("aria-label", known.length ? `${said}; measured ${known[0].toFixed(4)}` : said);
  if (steps.length) {
    const [first, last] = [x(steps[0][0]), x(steps[steps.length - 1][0])];
    chart.append(svg("path", { class: "curve", d: `M${first} ${y(0)}L${line}L${last} ${y(0)}` }));
  }
  chart.append(svg("line", { class: "axis", x1: 0, x2: width, y1: y(0), y2: y(0) }));
  if (median !== null) {
    chart.append(svg("line", { class: "axis", x1: x(median), x2: x(median), y1: 4, y2: y(0) }));
  }
  for (const z of known) {
    chart.append(svg("line", { class: "known", x1: x(z), x2: x(z), y1: 4, y2: y(0) }));
  }
  const labels = [[left, 0, "start"], [(left + right) / 2, width / 2, "middle"], [right, width, "end"]];
  for (const [z, place, anchor] of labels) {
    const text = svg("text", { x: place, y: height - 4, "text-anchor": anchor });
    text.textContent = z.toFixed(3);
    chart.append(text);
  }
  return chart;
}
