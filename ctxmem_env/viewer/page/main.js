// The page: what is heard from the server is shown, what the visitor wants is sent.

import { Link, download, knock } from "./link.js";
import { WorldMap } from "./map.js";
import { Strip, paint, paintDepth } from "./pictures.js";
import { Walk } from "./walk.js";

const TASKS = {
  roam: "Walk wherever you like.",
  point_goal: "Go to the cross on the map.",
  image_goal: "Find the place that the picture shows, and look as it looks.",
  explore: "See as much new ground as you can.",
  look_back: "Walk away for 20 steps, then come back to the first view.",
};
const FIGURES = {
  distance_to_goal: ["Distance", (value) => `${value.toFixed(2)} m`],
  seen_area: ["Seen", (value) => `${value.toFixed(1)} m²`],
  spl: ["Success by path length", (value) => value.toFixed(2)],
};
const KINDS = { scene: "", photograph: "a photograph", file: "a saved world" };
const $ = (id) => document.getElementById(id);

const form = $("world");
const map = new WorldMap($("map"));
const strip = new Strip($("strip"));
const walk = new Walk($("screen"), document.querySelector(".pad"), (action) => link.send({ type: "move", action }));
let link;
let choice = null;
let largest = Infinity; // bytes of a file
let order = Promise.resolve(); // frames are shown in the order in which they came
const arrivals = [];

function hear(message) {
  if (message.type === "frame") {
    walk.answered();
    order = order.then(() => show(message)).catch((error) => complain(error.message));
  } else if (message.type === "welcome") {
    offer(message.offer);
    if (choice) link.send({ type: "open", ...choice });
    else open();
  } else if (message.type === "retrieval") {
    choice.retrieval = form.retrieval.value = message.retrieval;
  } else if (message.type === "error") {
    walk.stop();
    if (choice) settle();
    complain(message.text);
    if (message.full) $("veil").textContent = "All places are taken.";
  } else {
    walk.stop();
    $("veil").hidden = false;
    $("veil").textContent ||= "Not connected.";
    document.body.dataset.state = "closed";
    complain("The connection has ended, and with it this world.", ["Connect again", connect]);
  }
}

function offer(known) {
  for (const name of ["model", "style", "task", "retrieval"]) {
    const select = form[name];
    const kept = select.value || known.default[name];
    select.replaceChildren(...known[name].map((value) => new Option(value.replaceAll("_", " "), value)));
    select.value = kept;
  }
  largest = known.upload_bytes;
  strip.make(known.num_context);
}

async function show(message) {
  const pictures = {};
  for (const [name, picture] of Object.entries(message.pictures)) pictures[name] = await picture;
  const [x, y, , yaw, pitch] = message.pose;
  if (message.opened) begin(message, pictures);
  else map.remember(message.time, x, y, yaw, message.profile, Math.abs(pitch) < 0.09);
  map.forget(message.forgotten);
  map.stand(x, y, yaw);
  map.used = message.retrieved;
  if (choice.task === "point_goal" && message.opened) {
    const [distance, bearing] = message.goal;
    map.goal = [x + distance * Math.cos(yaw + bearing), y + distance * Math.sin(yaw + bearing)];
  }
  map.draw();
  paint($("frame"), pictures.frame);
  $("depth").closest("section").hidden = !pictures.depth;
  if (pictures.depth) {
    paintDepth($("depth"), pictures.depth);
    $("ahead").textContent = `ahead ${message.ahead.toFixed(1)} m`;
  }
  strip.show(message.retrieved, message.overlap, pictures.strip);
  const degrees = (angle) => `${Math.round((angle * 180) / Math.PI)}°`;
  $("where").textContent = `x ${x.toFixed(1)} m · y ${y.toFixed(1)} m · yaw ${degrees(yaw)} · pitch ${degrees(pitch)}`;
  $("step").textContent = message.step;
  $("remembered").textContent = message.remembered;
  $("bump").hidden = !message.collision;
  tellTask(message);
  count();
  document.body.dataset.step = message.step;
}

function begin(message, pictures) {
  const { opened } = message;
  choice = opened.choice;
  walk.stop();
  walk.fov = opened.fov;
  map.clear(opened.fov);
  for (const [time, x, y, yaw, profile] of opened.cameras) map.remember(time, x, y, yaw, profile);
  settle();
  for (const name of ["model", "style", "task", "retrieval"]) form[name].value = choice[name];
  $("source").textContent = KINDS[opened.kind] || `number ${choice.seed}`;
  $("task-name").textContent = choice.task.replaceAll("_", " ");
  $("goal").hidden = !pictures.goal;
  if (pictures.goal) paint($("goal"), pictures.goal);
  document.body.dataset.state = "open";
  document.body.dataset.opened = 1 + Number(document.body.dataset.opened ?? 0);
  $("alerts").replaceChildren();
}

function tellTask(message) {
  const text = message.task.success ? "You are there. New world opens the next one." : TASKS[choice.task] ?? "";
  if ($("task-text").textContent !== text) $("task-text").textContent = text; // which a screen reader tells
  const rows = Object.entries(FIGURES)
    .filter(([name]) => name in message.task)
    .map(([name, [label, text]]) => [label, text(message.task[name])]);
  if (choice.task === "look_back") rows.unshift(["Way out that is left", `${Math.round(100 * message.goal[0])} %`]);
  if ("success" in message.task) rows.unshift(["Reached", message.task.success ? "yes" : "not yet"]);
  if (choice.task !== "roam") rows.push(["Reward so far", message.total.toFixed(2)]);
  $("task-figures").replaceChildren(
    ...rows.map(([label, value]) => {
      const row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      row.firstChild.textContent = label;
      row.lastChild.textContent = value;
      return row;
    }),
  );
}

// Frames a second over the last second in which there were any.
function count() {
  const now = performance.now();
  arrivals.push(now);
  while (arrivals[0] < now - 1000) arrivals.shift();
  $("fps").textContent = arrivals.length > 1 ? Math.round((1000 * (arrivals.length - 1)) / (now - arrivals[0])) : "–";
}

function wait(text) {
  walk.stop();
  $("veil").textContent = text;
  $("veil").hidden = false;
}

function settle() {
  $("veil").hidden = true;
}

function complain(text, [label, action] = ["Close", () => {}]) {
  const alert = document.createElement("div");
  alert.className = "alert";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", () => {
    alert.remove();
    action();
  });
  alert.append(Object.assign(document.createElement("span"), { textContent: text }), button);
  $("alerts").replaceChildren(alert);
}

// Another world, or, with the number of the present one, the same scene with another model or task.
function open(present = null) {
  const { model, style, task, retrieval, seed } = form;
  const number = seed.value.trim() || String(present ?? "");
  if (number && !/^\d+$/.test(number)) {
    complain("The number of a world is a whole number, such as 7.");
    return;
  }
  wait("Opening a world …");
  link.send({
    type: "open",
    model: model.value,
    style: style.value,
    task: task.value,
    retrieval: retrieval.value,
    seed: number ? Number(number) : null,
  });
}

async function send(path, file) {
  wait("Opening what you brought …");
  try {
    await link.ask(path, { method: "POST", body: file });
  } catch (error) {
    settle();
    complain(error.message);
  }
}

async function fetchFile(button, path, name) {
  button.disabled = true;
  try {
    download(await (await link.ask(path)).blob(), name);
  } catch (error) {
    complain(error.message);
  } finally {
    button.disabled = false;
  }
}

function bring(file) {
  if (!file) return;
  if (file.size > largest) complain(`The file is larger than ${Math.floor(largest / 2 ** 20)} MB.`);
  else if (file.name.endsWith(".ctxworld")) send("api/world", file);
  else send(`api/photograph?fov=${encodeURIComponent($("fov").value || 65)}`, file);
}

function connect() {
  document.body.dataset.state = "connecting";
  $("alerts").replaceChildren();
  wait("Opening a world …");
  link = new Link(sessionStorage.getItem("ctxmem-token"), hear);
}

async function enter() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem("ctxmem-token", given);
    history.replaceState(null, "", location.pathname);
  }
  if (await knock(sessionStorage.getItem("ctxmem-token"))) connect();
  else $("ask").showModal();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  open();
});
form.style.addEventListener("change", () => open());
for (const name of ["model", "task"]) form[name].addEventListener("change", () => open(choice?.seed));
form.retrieval.addEventListener("change", () => link.send({ type: "retrieve", retrieval: form.retrieval.value }));
$("save").addEventListener("click", (event) => fetchFile(event.target, "api/world", "world.ctxworld"));
$("video").addEventListener("click", (event) => fetchFile(event.target, "api/video", "walk.mp4"));
for (const [button, input] of [["photo", "photo-file"], ["load", "world-file"]]) {
  $(button).addEventListener("click", () => $(input).click());
  $(input).addEventListener("change", (event) => {
    bring(event.target.files[0]);
    event.target.value = "";
  });
}
$("ask").addEventListener("close", () => {
  sessionStorage.setItem("ctxmem-token", $("token").value.trim());
  enter();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").hidden = kind !== "dragover";
    if (kind === "drop") bring(event.dataTransfer.files[0]);
  });
}
window.addEventListener("hashchange", () => location.hash.length > 1 && location.reload()); // a token was pasted
enter();
