// The page: a picture, a box drawn over it, the points.

import { find, open } from "./landmarks.js";

const HIDDEN = 0.5; // visibility below which a point counts as hidden
const MOST_PIXELS = 1600; // of a side of the canvas
const LEAST_BOX = 8; // pixels of a side

const $ = (id) => document.getElementById(id);
const stage = $("stage"), context = stage.getContext("2d"), main = document.querySelector("main");
let network, picture, box, face, from;

function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

async function load() {
  const name = $("network").value;
  network = undefined;
  update();
  say("Loading the network ...");
  try {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    const opened = await open(await answer.arrayBuffer());
    if (name !== $("network").value) return; // another one was chosen meanwhile
    network = opened;
    say(picture ? "Ready." : "Ready for a picture.");
  } catch (error) {
    say(`${name.split("/").pop()}: ${error.message}`, true);
  }
  update();
}

let opened = 0;

async function show(file) {
  const mine = ++opened; // of two pictures that are dropped, the later one stays
  try {
    // As the package reads pictures: upright, the stored colours.
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    if (mine !== opened) return bitmap.close();
    picture?.bitmap.close();
    picture = { bitmap, name: file.name, scale: Math.min(1, MOST_PIXELS / Math.max(bitmap.width, bitmap.height)) };
  } catch {
    if (mine === opened) say(`${file.name}: expected a picture that this browser can show`, true);
    return;
  }
  [stage.width, stage.height] = [picture.bitmap.width, picture.bitmap.height].map((v) => Math.max(Math.round(v * picture.scale), 1));
  main.classList.add("loaded");
  stage.hidden = false;
  say(`${file.name}: ${picture.bitmap.width} x ${picture.bitmap.height} pixels. Draw the box of a face.`);
  setBox(undefined);
}

function setBox(values) {
  [box, face] = [values, undefined];
  $("box").value = box ? box.map((v) => Math.round(v * 100) / 100).join(", ") : "";
  update();
}

function readBox() {
  const values = $("box").value.split(/[\s,]+/).filter(Boolean).map(Number);
  const [x0, y0, x1, y1] = values;
  if (values.length !== 4 || !values.every(Number.isFinite) || !(x1 > x0 && y1 > y0))
    throw new Error("expected a box of four numbers, x0, y0, x1, y1, that grow to the right and downwards");
  return values;
}

async function run() {
  try {
    [box, face] = [readBox(), undefined];
    const begin = performance.now();
    const of = picture;
    const found = await find(network, of.bitmap, box);
    if (of !== picture) return; // another picture is shown by now
    face = found;
    const hidden = face.visibility?.filter((v) => v < HIDDEN).length;
    const sure = face.confidence && face.confidence.reduce((a, b) => a + b) / face.confidence.length;
    say([`${face.landmarks.length} points in ${Math.round(performance.now() - begin)} ms`,
      ...(face.visibility ? [`${hidden} hidden`] : []), ...(sure === null ? [] : [`mean confidence ${sure.toFixed(2)}`])].join(", "));
  } catch (error) {
    say(error.message, true);
  }
  update();
}

function pointsBox() {
  const [xs, ys] = [0, 1].map((k) => face.landmarks.map((point) => point[k]));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function save() {
  const round = (value, digits) => (value === null ? null : JSON.parse(JSON.stringify(value), (_, v) => (typeof v === "number" ? Number(v.toFixed(digits)) : v)));
  const { width, height } = picture.bitmap;
  const record = { box: round(face.box, 2), score: 1, landmarks: round(face.landmarks, 2), visibility: round(face.visibility, 4), confidence: round(face.confidence, 4) };
  const content = JSON.stringify({ images: [{ path: picture.name, width, height, faces: [record] }] });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "faces.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function update() {
  $("box").disabled = !picture;
  $("find").disabled = !(picture && network && (box || $("box").value));
  $("again").disabled = !(face && network);
  $("save").disabled = !face;
  const table = document.querySelector("details");
  table.hidden = !face;
  if (face) {
    const cell = (values, i) => values?.[i].toFixed(2) ?? "";
    table.querySelector("tbody").replaceChildren(...face.landmarks.map(([x, y], i) => {
      const row = document.createElement("tr");
      for (const text of [i, x.toFixed(1), y.toFixed(1), cell(face.visibility, i), cell(face.confidence, i)]) row.insertCell().textContent = text;
      return row;
    }));
  }
  if (picture) draw();
}

function draw() {
  const { bitmap, scale } = picture;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, stage.width, stage.height);
  context.drawImage(bitmap, 0, 0, stage.width, stage.height);
  // Canvas coordinates have pixel edges at whole numbers, the picture's have pixel centres there.
  const at = (value) => (value + 0.5) * scale;
  const line = stage.width / (stage.clientWidth || stage.width); // a pixel of the screen
  if (box) {
    const [x0, y0, x1, y1] = box.map(at);
    for (const [style, width] of [["#000a", 4], ["#fff", 2]]) {
      [context.strokeStyle, context.lineWidth] = [style, width * line];
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
  }
  if (!face) return;
  const [x0, y0, x1, y1] = pointsBox();
  const radius = Math.max(1.5 * line, Math.min(6 * line, Math.hypot(x1 - x0, y1 - y0) * scale * 0.011));
  face.landmarks.forEach(([x, y], i) => {
    const sure = face.confidence?.[i] ?? 1, hidden = (face.visibility?.[i] ?? 1) < HIDDEN;
    const color = sure >= 0.8 ? "#12a594" : sure >= 0.4 ? "#e8a317" : "#e4572e";
    context.beginPath();
    context.arc(at(x), at(y), radius, 0, 2 * Math.PI);
    [context.strokeStyle, context.lineWidth] = ["#000b", hidden ? radius : radius * 0.5];
    context.stroke();
    if (hidden) [context.strokeStyle, context.lineWidth] = [color, radius * 0.5];
    else context.fillStyle = color;
    if (hidden) context.stroke();
    else context.fill();
  });
}

// The place of a pointer in the picture's pixels.
function place(event) {
  const area = stage.getBoundingClientRect();
  return [["clientX", "left", "width"], ["clientY", "top", "height"]].map(
    ([at, begin, length]) => ((event[at] - area[begin]) / area[length]) * picture.bitmap[length] - 0.5,
  );
}

stage.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary) return;
  stage.setPointerCapture(event.pointerId);
  from = place(event);
});
stage.addEventListener("pointermove", (event) => {
  if (!from || !event.isPrimary) return;
  const [x, y] = place(event);
  setBox([Math.min(from[0], x), Math.min(from[1], y), Math.max(from[0], x), Math.max(from[1], y)]);
});
stage.addEventListener("pointerup", () => {
  const drawn = from && box && Math.min(box[2] - box[0], box[3] - box[1]) >= LEAST_BOX;
  from = undefined;
  if (drawn && network) run();
});
stage.addEventListener("pointercancel", () => (from = undefined));
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("box").addEventListener("input", update);
$("again").addEventListener("click", () => {
  setBox(pointsBox());
  run();
});
$("save").addEventListener("click", save);
$("network").addEventListener("change", load);
$("file").addEventListener("change", () => $("file").files[0] && show($("file").files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  main.classList.add("over");
});
document.addEventListener("dragleave", () => main.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  main.classList.remove("over");
  if (event.dataTransfer.files[0]) show(event.dataTransfer.files[0]);
});
new ResizeObserver(() => picture && draw()).observe(stage);
await load();
