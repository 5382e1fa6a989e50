// Keys, the pad, and dragging, as one action at a time: dx forward, dy left, dyaw left, dpitch up, from -1 to 1.

const KEYS = {
  KeyW: [1, 0, 0, 0], ArrowUp: [1, 0, 0, 0], KeyS: [-1, 0, 0, 0], ArrowDown: [-1, 0, 0, 0],
  KeyA: [0, 1, 0, 0], KeyD: [0, -1, 0, 0],
  KeyQ: [0, 0, 1, 0], ArrowLeft: [0, 0, 1, 0], KeyE: [0, 0, -1, 0], ArrowRight: [0, 0, -1, 0],
  KeyR: [0, 0, 0, 1], KeyF: [0, 0, 0, -1],
};
const REPEAT = 180; // ms that a key is held before its step is made again: a tap is one step
const PACE = 70; // ms from step to step
const TURN = 15; // degrees of an action at 1
const LOST = 3000; // ms after which an answer is no longer waited for

export class Walk {
  // `send` gets an action when the last one was answered: see `answered`.
  constructor(screen, pad, send) {
    this.send = send;
    this.held = new Map(); // what is held down, with the action and since when
    this.first = []; // actions that were not sent at all yet
    this.drag = { yaw: 0, pitch: 0 }; // degrees that are still to be turned
    this.fov = 90;
    this.asked = -Infinity;
    this.waiting = false;
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("keyup", (event) => this.held.delete(event.code));
    window.addEventListener("blur", () => this.held.clear());
    for (const button of pad.querySelectorAll("button")) this.#press(button);
    this.#dragOn(screen);
    setInterval(() => this.#next(), 10);
  }

  answered() {
    this.waiting = false;
    this.#next();
  }

  stop() {
    this.held.clear();
    this.first = [];
    this.drag = { yaw: 0, pitch: 0 };
    this.waiting = false;
  }

  #down(event) {
    const action = KEYS[event.code];
    const typing = event.target.closest?.("input, select, dialog");
    if (!action || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (!event.repeat) this.#hold(event.code, action);
  }

  #hold(name, action) {
    this.held.set(name, { action, since: performance.now() });
    this.first.push(action);
    this.#next();
  }

  #press(button) {
    const action = button.dataset.action.split(" ").map(Number);
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      button.classList.add("pressed");
      this.#hold(button, action);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(end, () => {
        button.classList.remove("pressed");
        this.held.delete(button);
      });
    }
    // Of the keyboard, for which there is no pointer.
    button.addEventListener("click", (event) => event.detail === 0 && this.first.push(action));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // The view follows the finger: what it touches stays under it.
  #dragOn(screen) {
    screen.addEventListener("pointerdown", (event) => {
      screen.setPointerCapture(event.pointerId);
      screen.focus({ preventScroll: true });
    });
    screen.addEventListener("pointermove", (event) => {
      if (!screen.hasPointerCapture(event.pointerId)) return;
      const degrees = this.fov / screen.clientWidth;
      this.drag.yaw += event.movementX * degrees;
      this.drag.pitch += event.movementY * degrees;
    });
  }

  #next() {
    const now = performance.now();
    if (this.waiting && now - this.asked < LOST) return;
    if (now - this.asked < PACE) return;
    const sum = [0, 0, 0, 0];
    const due = this.first.length ? this.first : [...this.held.values()].filter((h) => now - h.since > REPEAT).map((h) => h.action);
    for (const action of due) action.forEach((value, i) => (sum[i] += value));
    this.first = [];
    sum[2] += this.#turn("yaw");
    sum[3] += this.#turn("pitch");
    if (!sum.some((value) => value !== 0)) return;
    this.waiting = true;
    this.asked = now;
    this.send(sum.map((value) => Math.max(-1, Math.min(1, value))));
  }

  #turn(axis) {
    const degrees = Math.max(-TURN, Math.min(TURN, this.drag[axis]));
    if (Math.abs(degrees) < 0.5) return 0;
    this.drag[axis] -= degrees;
    return degrees / TURN;
  }
}
