// The world from above: x to the right, y up, in metres.

const REACH = 2.5; // metres to which the view sector is drawn
const COLOURS = ["--muted", "--accent", "--context", "--line", "--text"];

export class WorldMap {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.clear(90);
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear(fov) {
    this.fov = (fov * Math.PI) / 180;
    this.path = [];
    this.cameras = new Map(); // what is remembered: time to {x, y, yaw}
    this.walls = new Map(); // time to points that the depth of a frame shows
    this.used = [];
    this.goal = null;
    this.view = null;
  }

  remember(time, x, y, yaw, profile, level = true) {
    this.cameras.set(time, { x, y, yaw });
    if (level && profile) this.walls.set(time, this.#points(x, y, yaw, profile));
  }

  forget(times) {
    for (const time of times) {
      this.cameras.delete(time);
      this.walls.delete(time);
    }
  }

  stand(x, y, yaw) {
    this.here = { x, y, yaw };
    this.path.push([x, y]);
    if (this.path.length > 4000) this.path.splice(0, 1000);
  }

  #points(x, y, yaw, profile) {
    const half = Math.tan(this.fov / 2);
    return profile.map((depth, i) => {
      const side = half * (1 - (2 * (i + 0.5)) / profile.length) * depth; // left positive
      return [x + depth * Math.cos(yaw) - side * Math.sin(yaw), y + depth * Math.sin(yaw) + side * Math.cos(yaw), depth];
    });
  }

  // The section that is shown follows what there is, slowly.
  #fit() {
    const places = [...this.path.slice(-400), ...[...this.cameras.values()].map((c) => [c.x, c.y])];
    if (this.goal) places.push(this.goal);
    const xs = places.map((p) => p[0]);
    const ys = places.map((p) => p[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const wanted = { x: (left + right) / 2, y: (low + high) / 2, width: right - left + 2 * REACH, height: high - low + 2 * REACH };
    const share = this.view ? 0.2 : 1;
    this.view ??= wanted;
    for (const key of Object.keys(wanted)) this.view[key] += share * (wanted[key] - this.view[key]);
  }

  draw() {
    if (!this.here) return;
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const style = getComputedStyle(canvas);
    const [muted, accent, blue, line, text] = COLOURS.map((name) => style.getPropertyValue(name).trim());
    this.#fit();
    const scale = Math.min(width / this.view.width, height / this.view.height);
    const at = (x, y) => [width / 2 + (x - this.view.x) * scale, height / 2 - (y - this.view.y) * scale];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.#grid(at, scale, width, height, line, muted);

    context.fillStyle = muted;
    context.globalAlpha = 0.55;
    for (const points of this.walls.values()) {
      for (const [x, y, depth] of points) {
        if (depth > 6) continue; // far surfaces are known too coarsely
        const [u, v] = at(x, y);
        context.fillRect(u - 1, v - 1, 2, 2);
      }
    }
    context.globalAlpha = 1;

    this.#sector(at, this.here, this.fov, REACH, accent, 0.25);
    context.beginPath();
    this.path.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](...at(x, y)));
    context.strokeStyle = muted;
    context.lineWidth = 1.5;
    context.stroke();
    for (const camera of this.cameras.values()) this.#dot(at, camera, 1.8, muted);
    for (const time of this.used) {
      const camera = this.cameras.get(time);
      if (!camera) continue;
      this.#sector(at, camera, Math.min(this.fov, 1), 14 / scale, blue, 0.25);
      this.#dot(at, camera, 3, blue);
    }
    if (this.goal) this.#cross(at(...this.goal), text);
    this.#dot(at, this.here, 5, accent);
  }

  #grid(at, scale, width, height, line, muted) {
    const { context } = this;
    const spacing = [0.5, 1, 2, 5, 10, 20, 50, 100].find((metres) => metres * scale > 34) ?? 200;
    const reach = Math.max(width, height) / scale;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.beginPath();
    const first = (centre) => Math.floor((centre - reach) / spacing) * spacing;
    for (let x = first(this.view.x); x < this.view.x + reach; x += spacing) {
      const [u] = at(x, 0);
      context.moveTo(u, 0);
      context.lineTo(u, height);
    }
    for (let y = first(this.view.y); y < this.view.y + reach; y += spacing) {
      const [, v] = at(0, y);
      context.moveTo(0, v);
      context.lineTo(width, v);
    }
    context.stroke();
    context.fillStyle = muted;
    context.font = "12px system-ui, sans-serif";
    context.fillText(`grid ${spacing} m`, 10, height - 10);
  }

  #sector(at, { x, y, yaw }, angle, reach, colour, fill) {
    const { context } = this;
    context.beginPath();
    context.moveTo(...at(x, y));
    for (let i = 0; i <= 16; i++) {
      const turned = yaw + angle * (i / 16 - 0.5);
      context.lineTo(...at(x + reach * Math.cos(turned), y + reach * Math.sin(turned)));
    }
    context.closePath();
    context.globalAlpha = fill;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.stroke();
  }

  #dot(at, { x, y }, radius, colour) {
    this.context.beginPath();
    this.context.arc(...at(x, y), radius, 0, 2 * Math.PI);
    this.context.fillStyle = colour;
    this.context.fill();
  }

  #cross([u, v], colour) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 2.5;
    context.beginPath();
    context.moveTo(u - 6, v - 6);
    context.lineTo(u + 6, v + 6);
    context.moveTo(u - 6, v + 6);
    context.lineTo(u + 6, v - 6);
    context.stroke();
  }
}
