// The page: files in, questions to the service of this machine, numbers and downloads out.

import { componentOf, distances, DOUBTFUL, HIDDEN, mean, sameFace, words } from "./draw.js";
import { Stage } from "./stage.js";
import { Player } from "./video.js";

const $ = (id) => document.getElementById(id);
const stage = new Stage($("stage"), $("second"));
const player = new Player({ video: $("video"), over: $("over"), timeline: $("timeline") }, tell);
let info = null, brush = false, held = null;

// Numbers the questions of a kind: an answer counts while no newer question was asked and the picture is the same.
function questions() {
  let last = 0;
  return () => {
    const mine = ++last, file = stage.file;
    return () => mine === last && file === stage.file;
  };
}
const asked = { file: questions(), clean: questions(), covered: questions(), other: questions() };

function tell(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

const settings = () => ({ lines: $("lines").checked, least: Number($("least").value) });

async function ask(path, body) {
  const answer = await fetch(path, { method: "POST", body });
  const values = await answer.json();
  if (!answer.ok) throw new Error(values.error);
  return values;
}

// Run what the user asked for; a failure is told in one line.
function attempt(work) {
  return async (...values) => {
    try {
      await work(...values);
    } catch (error) {
      if (error.name !== "AbortError") tell(reason(error), true);
    }
  };
}

// Browsers have words of their own for a service that is not there.
function reason(error) {
  const silent = error instanceof TypeError && /fetch|network|load failed/i.test(error.message);
  return silent ? "srn does not answer: is it still running?" : error.message;
}

const query = () => `accuracy=${$("accuracy").value}`;

async function detect(blob, box = null) {
  return ask(`detect?${query()}&min_confidence=0${box ? `&box=${box.join(",")}` : ""}`, blob);
}

function show(part) {
  $("drop").hidden = part !== "drop";
  $("stages").hidden = part !== "stages";
  $("player").hidden = part !== "player";
  $("hide").disabled = part !== "stages";
  $("looks").disabled = part === "player";
  $("another").hidden = part === "drop";
  $("save").hidden = true;
  $("none").hidden = part !== "drop";
  if (part !== "player") player.stop();
  if (part !== "stages") stage.reset();
  $("faces").replaceChildren();
  $("distances").hidden = $("beside").hidden = true;
}

const open = attempt(async (file) => {
  if (!file) return;
  const newest = asked.file();
  if (file.type.startsWith("video/")) {
    show("player");
    tell("Tracking ...");
    await player.openFile(file, info.scheme, info.limits);
    return;
  }
  if (file.size > info.limits.megabytes * 1e6) throw new Error(`${file.name}: expected at most ${info.limits.megabytes} MB`);
  const picture = await createImageBitmap(file).catch(() => null);
  if (!newest()) return; // another file was opened meanwhile
  show(picture ? "stages" : "drop");
  if (!picture) throw new Error(`${file.name}: expected a picture or a video that this browser can show`);
  stage.open(file, picture);
  stage.draw(info.scheme, settings());
  tell("Looking for faces ...");
  await detectAll();
});

// Ask for everything anew: the picture, the picture with what hides it, and other weights.
async function detectAll() {
  const newest = asked.clean(), file = stage.file;
  const record = await detect(file);
  if (!newest()) return;
  stage.clean = { ...record, path: file.name };
  refresh();
  await detectCovered();
  await detectOther();
}

async function detectCovered() {
  const newest = asked.covered(), { clean, file } = stage;
  if (!clean) return;
  let covered = null;
  if (!stage.occlusion.empty) {
    const blob = await stage.hidden();
    covered = { ...(await detect(blob)), path: file.name };
    // A face that the finder lost is looked at in its old box.
    for (const face of clean.faces) {
      if (!newest()) return;
      if (!sameFace(face, covered.faces)) {
        const again = (await detect(blob, face.box)).faces;
        covered.faces.push(...again.map((one) => ({ ...one, lost: true })));
      }
    }
  }
  if (!newest()) return;
  stage.covered = covered;
  refresh();
}

async function detectOther() {
  const newest = asked.other(), name = $("other").value;
  $("beside").hidden = !name;
  stage.other = null;
  if (name && stage.clean) {
    const blob = stage.occlusion.empty ? stage.file : await stage.hidden();
    const record = await ask(`page/detect?weights=${name}&${query()}`, blob);
    if (!newest()) return;
    stage.other = record;
    captions();
  } else $("caption").textContent = "";
  stage.draw(info.scheme, settings());
}

function captions() {
  $("second-caption").textContent = `${stage.other.weights}: ${summary(stage.other.faces)}`;
  $("caption").textContent = `${info.weights}: ${summary(stage.faces)}`;
}

function summary(faces) {
  if (!faces.length) return "no face";
  if (!faces[0].confidence) return `${faces.length} face${faces.length === 1 ? "" : "s"}, of unknown confidence`;
  const confidence = faces.map((face) => mean(face.confidence)), left = confidence.filter((value) => value < settings().least).length;
  return `mean confidence ${mean(confidence).toFixed(2)}${left ? `; ${left} below the lowest, not drawn` : ""}`;
}

function refresh() {
  const options = settings();
  stage.draw(info.scheme, options);
  const faces = stage.faces.filter((face) => !face.confidence || mean(face.confidence) >= options.least);
  const left = stage.faces.length - faces.length;
  tell(faces.length || left ? `${faces.length} face${faces.length === 1 ? "" : "s"}${left ? `, ${left} below the lowest confidence` : ""}` : "No face found.");
  $("faces").replaceChildren(...faces.map(describe));
  $("save").hidden = !faces.length;
  fillDistances(faces);
}

function describe(face) {
  const item = document.createElement("li");
  const parts = []; // what the weights tell: older ones tell neither
  if (face.confidence) parts.push(`confidence ${mean(face.confidence).toFixed(2)}`);
  if (face.visibility) parts.push(`${face.visibility.filter((value) => value < HIDDEN).length} points hidden`);
  if (!parts.length) parts.push("confidence and hidden points unknown");
  if (face.lost) parts.push("lost by the finder; looked at where it was");
  item.textContent = parts.join(", ");
  return item;
}

function fillDistances(faces) {
  const body = $("distances").tBodies[0];
  body.replaceChildren();
  $("distances").hidden = !stage.covered;
  if (!stage.covered) return;
  stage.clean.faces.forEach((face, number) => {
    const other = sameFace(face, faces);
    if (!other) return;
    const found = distances(face, other, info.scheme);
    const name = stage.clean.faces.length > 1 ? `face ${number + 1}` : "all points";
    const rows = [[name, found.all, "#888"], ...found.parts.map(([part, value]) => [words(part), value, info.scheme.colors[part]])];
    for (const [label, value, color] of rows) {
      const row = body.insertRow(), dot = document.createElement("span");
      dot.className = "dot";
      dot.style.background = color;
      row.insertCell().append(dot, label);
      row.insertCell().textContent = value.toFixed(1);
    }
  });
}

// --- the stage: hover, brush, drag

function tip(event) {
  const [x, y] = stage.place(event), reach = (12 * stage.picture.width) / stage.canvas.getBoundingClientRect().width;
  let best = null, least = reach;
  for (const face of stage.faces) {
    face.landmarks.forEach(([a, b], i) => {
      const distance = Math.hypot(a - x, b - y);
      if (distance < least) [best, least] = [[face, i], distance];
    });
  }
  $("tip").hidden = !best;
  if (!best) return;
  const [face, i] = best, part = words(componentOf(info.scheme, i));
  const value = (values) => (values ? values[i].toFixed(2) : "unknown");
  $("tip").textContent = `${i}, ${part}: visible ${value(face.visibility)}, confidence ${value(face.confidence)}`;
  $("tip").style.left = `${Math.min(event.clientX + 14, innerWidth - 260)}px`;
  $("tip").style.top = `${event.clientY + 14}px`;
}

stage.canvas.addEventListener("pointerdown", (event) => {
  if (!stage.clean) return;
  const [x, y] = stage.place(event);
  const object = stage.occlusion.at(x, y);
  if (brush && !object) {
    held = stage.occlusion.stroke((Number($("size").value) / 100) * Math.min(stage.size.width, stage.size.height) * 0.08);
    held.points.push([x, y]);
  } else if (object) held = Object.assign(object, { grip: [x - object.x, y - object.y] });
  if (held) stage.canvas.setPointerCapture(event.pointerId);
  stage.draw(info.scheme, settings());
});

stage.canvas.addEventListener("pointermove", (event) => {
  if (!stage.clean) return;
  if (!held) return tip(event);
  const [x, y] = stage.place(event);
  if (held.points) held.points.push([x, y]);
  else [held.x, held.y] = [x - held.grip[0], y - held.grip[1]];
  stage.draw(info.scheme, settings());
});

for (const kind of ["pointerup", "pointercancel"]) {
  stage.canvas.addEventListener(kind, () => {
    if (!held) return;
    held = null;
    changed();
  });
}
stage.canvas.addEventListener("pointerleave", () => ($("tip").hidden = true));

const changed = attempt(async () => {
  stage.draw(info.scheme, settings());
  await detectCovered();
  await detectOther();
});

// --- buttons

for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => {
    const tool = button.dataset.tool;
    if (tool === "brush") {
      brush = !brush;
      button.setAttribute("aria-pressed", brush);
      stage.canvas.classList.toggle("brush", brush);
      return;
    }
    if (!stage.clean) return;
    const largest = stage.clean.faces.toSorted((a, b) => b.box[2] - b.box[0] - (a.box[2] - a.box[0]))[0];
    stage.occlusion.add(tool, largest, info.scheme, stage.size).grown = Number($("size").value) / 100;
    changed();
  });
}

$("size").addEventListener("input", () => {
  const object = stage.occlusion.last;
  if (object) object.grown = Number($("size").value) / 100;
  stage.draw(info.scheme, settings());
});
$("size").addEventListener("change", () => stage.occlusion.last && changed());
$("undo").addEventListener("click", () => (stage.occlusion.undo(), changed()));
$("clear").addEventListener("click", () => (stage.occlusion.clear(), changed()));
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && stage.clean) (event.preventDefault(), stage.occlusion.undo(), changed());
});
// Without a pointer: arrows move the object that was added last.
stage.canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key], object = stage.occlusion.last;
  if (!step || !object) return;
  event.preventDefault();
  object.x += step[0] * object.width * 0.05;
  object.y += step[1] * object.width * 0.05;
  changed();
});

$("least").addEventListener("input", () => {
  $("least-shown").textContent = Number($("least").value).toFixed(2);
  if (stage.clean) refresh();
  if (stage.other) captions();
});
$("lines").addEventListener("change", () => stage.draw(info.scheme, settings()));
$("accuracy").addEventListener("change", attempt(async () => stage.clean && (await detectAll())));
$("other").addEventListener("change", attempt(async () => stage.clean && (await detectOther())));
$("another").addEventListener("click", () => {
  asked.file();
  show("drop");
  tell("");
});
$("example").addEventListener("click", attempt(async () => {
  const answer = await fetch("example.jpg");
  open(new File([await answer.blob()], "example.jpg", { type: "image/jpeg" }));
}));
$("camera").addEventListener("click", attempt(async () => {
  asked.file();
  if (!navigator.mediaDevices) throw new Error("this browser gives no camera to this page");
  show("player");
  try {
    await player.openCamera(info.scheme);
  } catch (error) {
    if (error.name === "AbortError") return;
    show("drop");
    throw new Error(error.name === "NotAllowedError" ? "the camera was not allowed" : error.name === "NotFoundError" ? "no camera was found" : error.message);
  }
}));
$("file").addEventListener("change", () => {
  open($("file").files[0]);
  $("file").value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.querySelector("main").classList.toggle("over", kind === "dragover");
    if (kind === "drop") open(event.dataTransfer.files[0]);
  });
}

// --- downloads

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", attempt(async () => {
    const kind = button.dataset.save, stem = stage.file.name.replace(/\.[^.]*$/, "");
    if (kind === "png") {
      stage.canvas.toBlob((blob) => save(blob, `${stem}_points.png`));
      return;
    }
    const { least } = settings(), record = stage.covered ?? stage.clean;
    const faces = record.faces.filter((face) => !face.confidence || mean(face.confidence) >= least);
    const answer = await fetch(`page/export?kind=${kind}`, { method: "POST", body: JSON.stringify({ ...record, faces }) });
    if (!answer.ok) throw new Error((await answer.json()).error);
    save(await answer.blob(), kind === "coco" ? `${stem}_coco.json` : `${stem}.${kind}`);
  }));
}

// --- the beginning

attempt(async () => {
  info = await (await fetch("page/info")).json();
  $("facts").textContent = `Facial landmarks that hold under occlusion. ${info.weights}, srn ${info.version}. Nothing leaves this machine.`;
  $("example").hidden = !info.example;
  for (const name of info.others) $("other").append(new Option(name, name));
  $("legend").textContent = `Filled points can be seen, rings are hidden (visibility below ${HIDDEN}), faint ones are doubtful (confidence below ${DOUBTFUL}). Point at one to read its numbers.`;
  document.body.dataset.ready = "yes";
})();
