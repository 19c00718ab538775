// From a column of numbers to a colour per galaxy, and its legend.

const RAMP = [[72, 52, 212], [30, 136, 200], [22, 170, 130], [240, 170, 40], [226, 60, 60]];
const WORDS = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [213, 94, 0], [204, 121, 167],
  [86, 180, 233], [150, 140, 20], [120, 94, 240], [220, 38, 127], [100, 143, 255],
  [140, 86, 75], [23, 190, 207]];
const UNKNOWN = [140, 146, 153];
const STEPS = 256;

const ramp = Array.from({ length: STEPS }, (_, step) => {
  const place = (step / (STEPS - 1)) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low].map((from, band) => from + (RAMP[low + 1][band] - from) * (place - low));
});

// The range that 98 % of the values lie in: one outlier should not grey out the rest.
export function rangeOf(values) {
  const known = values.filter(Number.isFinite).sort();
  if (!known.length) return null;
  const at = (part) => known[Math.round(part * (known.length - 1))];
  const [low, high] = [at(0.01), at(0.99)];
  return low < high ? [low, high] : [known[0], known[known.length - 1]];
}

// RGBA bytes; galaxies outside a selection (a Uint8Array of flags, or null) are faint.
export function coloursOf(values, words, range, selected) {
  const bytes = new Uint8Array(4 * values.length);
  const [low, high] = range || [0, 1];
  const scale = (STEPS - 1) / (high - low || 1);
  for (let row = 0; row < values.length; row++) {
    const value = values[row];
    let colour = UNKNOWN;
    if (words.length && value >= 0) colour = WORDS[value % WORDS.length];
    else if (Number.isFinite(value)) {
      colour = ramp[Math.max(0, Math.min(STEPS - 1, Math.round((value - low) * scale)))];
    }
    bytes.set(colour, 4 * row);
    bytes[4 * row + 3] = selected && !selected[row] ? 40 : colour === UNKNOWN ? 80 : 215;
  }
  return bytes;
}

const css = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;

export function drawLegend(element, name, words, range) {
  const said = (text) => Object.assign(document.createElement("span"), { textContent: text });
  const dot = (colour, text) => {
    const whole = said("");
    const mark = Object.assign(document.createElement("span"), { className: "dot" });
    mark.style.background = css(colour);
    whole.append(mark, text);
    return whole;
  };
  element.replaceChildren(said(name));
  if (words.length) {
    element.append(...words.map((word, place) => dot(WORDS[place % WORDS.length], word)));
  } else if (range) {
    const bar = Object.assign(document.createElement("span"), { className: "ramp" });
    bar.style.background = `linear-gradient(to right, ${RAMP.map(css).join(", ")})`;
    element.append(said(range[0].toPrecision(3)), bar, said(range[1].toPrecision(3)));
  }
  element.append(dot(UNKNOWN, "unknown"));
}
