// The map: drawn by deck.gl, searched here. Finding the nearest of 250,000 points in a plain loop
// takes a millisecond and, unlike reading pixels back, is exact.

const { Deck, OrthographicView, ScatterplotLayer } = globalThis.deck;
const NOWHERE = 1e30; // outside every view: what a galaxy without a place is drawn at
const REACH_PX = 12;
const MOST_CORNERS = 400;

export class GalaxyMap {
  constructor(element, places, { onPick, onLasso }) {
    this.element = element;
    this.places = places;
    this.count = places.length / 2;
    const drawn = places.map((value) => (Number.isFinite(value) ? value : NOWHERE));
    this.drawn = { value: drawn, size: 2 }; // the same object every time: sent to the GPU once
    this.marks = [];
    this.data = null;
    this.lasso = null;
    this.shown = new Promise((resolve) => { this.onShown = resolve; });
    this.onPick = onPick;
    this.onLasso = onLasso;
    this.deck = new Deck({
      parent: element,
      views: new OrthographicView({ id: "map", flipY: false }),
      controller: { inertia: false, keyboard: false },
      viewState: this.home(),
      layers: [],
      onViewStateChange: ({ viewState }) => this.look(viewState),
      onAfterRender: () => this.data && this.onShown(),
      onClick: (_, event) => this.pick(event.offsetCenter),
      getCursor: ({ isDragging }) => (this.lasso ? "crosshair" : isDragging ? "grabbing" : "default"),
    });
    element.addEventListener("keydown", (event) => this.key(event));
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      element.addEventListener(kind, (event) => this.trace(event), { capture: true });
    }
    new ResizeObserver(() => this.moved || this.look(this.home(), false)).observe(element);
  }

  get size() {
    return [this.element.clientWidth || 1, this.element.clientHeight || 1];
  }

  home() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let row = 0; row < this.count; row++) {
      const [x, y] = [this.places[2 * row], this.places[2 * row + 1]];
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < low) low = y;
      if (y > high) high = y;
    }
    const [width, height] = this.size;
    const zoom = Math.log2(0.94 * Math.min(width / (right - left || 1), height / (high - low || 1)));
    this.homeZoom = zoom;
    return this.view = { target: [(left + right) / 2, (low + high) / 2, 0], zoom, minZoom: zoom - 2,
      maxZoom: zoom + 14 };
  }

  look({ target, zoom }, moved = true) {
    this.moved = moved;
    this.view = { ...this.view, target, zoom };
    this.draw();
  }

  fit() {
    this.look(this.home(), false);
  }

  goTo(place) {
    const [width, height] = this.size;
    const [x, y] = this.project(place);
    const inside = x > 20 && y > 20 && x < width - 20 && y < height - 20;
    if (!inside) this.look({ ...this.view, target: [...place, 0] });
  }

  project([x, y]) {
    const [[width, height], scale, [left, low]] = [this.size, 2 ** this.view.zoom, this.view.target];
    return [width / 2 + (x - left) * scale, height / 2 - (y - low) * scale];
  }

  unproject([x, y]) {
    const [[width, height], scale, [left, low]] = [this.size, 2 ** this.view.zoom, this.view.target];
    return [left + (x - width / 2) / scale, low - (y - height / 2) / scale];
  }

  colour(bytes) {
    this.data = {
      length: this.count,
      attributes: {
        getPosition: this.drawn,
        getFillColor: { value: bytes, size: 4, normalized: true },
      },
    };
    this.draw();
  }

  mark(marks) {
    this.marks = marks;
    this.draw();
  }

  draw() {
    const closer = Math.max(0, this.view.zoom - this.homeZoom);
    const radius = Math.min(3, Math.max(0.9, 220 / Math.sqrt(this.count))) * (1 + 0.35 * closer);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const ink = dark ? [255, 255, 255] : [0, 0, 0];
    const rings = { stroked: true, filled: false, lineWidthUnits: "pixels", radiusUnits: "pixels" };
    this.deck.setProps({
      viewState: this.view,
      layers: [
        this.data && new ScatterplotLayer({ id: "points", data: this.data, getRadius: 1,
          radiusScale: Math.min(radius, 9), radiusUnits: "pixels" }),
        new ScatterplotLayer({ id: "marks", data: this.marks, ...rings, getLineColor: ink,
          getPosition: (mark) => mark.place, getRadius: (mark) => (mark.chosen ? 11 : 6),
          getLineWidth: (mark) => (mark.chosen ? 3 : 1.5) }),
      ],
    });
  }

  nearest(pixel, reach = REACH_PX) {
    const [x, y] = this.unproject(pixel);
    let [found, least] = [-1, (reach / 2 ** this.view.zoom) ** 2];
    for (let row = 0; row < this.count; row++) {
      const away = (this.places[2 * row] - x) ** 2 + (this.places[2 * row + 1] - y) ** 2;
      if (away <= least) [found, least] = [row, away];
    }
    return found;
  }

  pick({ x, y }) {
    const row = this.nearest([x, y]);
    if (row >= 0) this.onPick(row);
  }

  key(event) {
    const [width, height] = this.size;
    const step = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
    const zoom = { "+": 0.5, "=": 0.5, "-": -0.5 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in step) {
      const [right, down] = step[event.key];
      const target = this.unproject([(0.5 + right) * width, (0.5 + down) * height]);
      this.look({ ...this.view, target: [...target, 0] });
    } else if (event.key in zoom) {
      this.look({ ...this.view, zoom: this.view.zoom + zoom[event.key] });
    } else if (event.key === "0") this.fit();
    else if (event.key === "Enter") this.pick({ x: width / 2, y: height / 2 });
    else return;
    event.preventDefault();
  }

  // Lasso: pointer events are taken before deck.gl sees them.
  trace(event) {
    if (!this.lasso) return;
    event.stopPropagation();
    const edge = this.element.getBoundingClientRect();
    const pixel = [event.clientX - edge.left, event.clientY - edge.top];
    if (event.type === "pointerdown") {
      this.element.setPointerCapture(event.pointerId);
      this.lasso.corners = [pixel];
    } else if (event.type === "pointermove" && this.lasso.corners) {
      this.lasso.corners.push(pixel);
      this.lasso.show(this.lasso.corners);
    } else if (event.type === "pointerup" && this.lasso.corners) {
      const corners = this.lasso.corners;
      this.lasso.corners = null;
      this.lasso.show([]);
      if (corners.length > 2) this.onLasso(this.inside(corners));
    }
  }

  inside(corners) {
    const every = Math.ceil(corners.length / MOST_CORNERS);
    const polygon = corners.filter((_, n) => n % every === 0).map((corner) => this.unproject(corner));
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const rows = [];
    for (let row = 0; row < this.count; row++) {
      const [x, y] = [this.places[2 * row], this.places[2 * row + 1]];
      if (x >= left && x <= right && y >= low && y <= high && contains(polygon, x, y)) rows.push(row);
    }
    return rows;
  }

  inView() {
    const [width, height] = this.size;
    return this.inside([[0, 0], [width, 0], [width, height], [0, height]]);
  }
}

// Even-odd rule: a ray to the right crosses the edge of what contains it an odd number of times.
function contains(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
    if (yi > y !== yj > y && x < xi + ((xj - xi) * (y - yi)) / (yj - yi)) within = !within;
  }
  return within;
}
