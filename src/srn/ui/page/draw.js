// Faces on a canvas: coloured by component, hidden points as rings, doubtful ones faint, scaled to the face.

export const HIDDEN = 0.5; // visibility below which a point counts as hidden
export const DOUBTFUL = 0.4; // confidence below which a point is drawn faint

const TRACKS = ["#e4572e", "#2e86ab", "#7cb518", "#a23b72", "#f3a712", "#5f4bb6"];
export const trackColor = (id) => TRACKS[(id ?? 0) % TRACKS.length];

export function componentOf(scheme, index) {
  for (const [name, points] of Object.entries(scheme.components)) if (points.includes(index)) return name;
  return "";
}

export const words = (name) => name.replaceAll("_", " ");

export function faceSize(face) {
  const [x0, y0, x1, y1] = face.box;
  return Math.hypot(x1 - x0, y1 - y0) / Math.SQRT2;
}

export const mean = (values) => (values?.length ? values.reduce((a, b) => a + b, 0) / values.length : NaN);

export function drawFaces(context, faces, scheme, { scale = 1, lines = true, ghost = false, box = false } = {}) {
  const color = {};
  for (const [name, points] of Object.entries(scheme.components)) for (const i of points) color[i] = scheme.colors[name];
  for (const face of faces) {
    const radius = Math.max(1.2, Math.min(7, faceSize(face) * scale * 0.014));
    const at = (i) => face.landmarks[i].map((v) => (v + 0.5) * scale);
    context.save();
    if (box) {
      const [x0, y0, x1, y1] = face.box.map((v) => (v + 0.5) * scale);
      context.strokeStyle = trackColor(face.track_id);
      context.lineWidth = Math.max(1, radius * 0.6);
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    if (lines && !ghost) drawLines(context, face, scheme, at, radius);
    for (let i = 0; i < face.landmarks.length; i++) {
      if (ghost) drawCross(context, at(i), radius);
      else drawPoint(context, at(i), radius, color[i], face, i);
    }
    context.restore();
  }
}

function drawLines(context, face, scheme, at, radius) {
  context.lineWidth = Math.max(0.6, radius * 0.45);
  context.globalAlpha = 0.55;
  for (const [name, points, closed] of scheme.contours) {
    context.strokeStyle = scheme.colors[name];
    context.beginPath();
    points.forEach((i, n) => (n ? context.lineTo(...at(i)) : context.moveTo(...at(i))));
    if (closed) context.closePath();
    context.stroke();
  }
}

function drawPoint(context, [x, y], radius, color, face, i) {
  context.globalAlpha = (face.confidence?.[i] ?? 1) < DOUBTFUL ? 0.4 : 1;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = Math.max(0.8, radius * 0.5);
  if ((face.visibility?.[i] ?? 1) < HIDDEN) {
    context.strokeStyle = "#000a";
    context.lineWidth *= 2;
    context.stroke();
    context.strokeStyle = color;
    context.lineWidth /= 2;
  } else {
    context.fillStyle = color;
    context.fill();
    context.strokeStyle = "#0009";
    context.lineWidth *= 0.5;
  }
  context.stroke();
}

function drawCross(context, [x, y], radius) {
  const r = radius * 0.9;
  for (const [style, width] of [["#000c", 2.4], ["#fff", 1]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - r, y);
    context.lineTo(x + r, y);
    context.moveTo(x, y - r);
    context.lineTo(x, y + r);
    context.stroke();
  }
}

// The face of a list whose box lies over another's best; null where none does.
export function sameFace(face, others) {
  const share = ([a0, b0, a1, b1], [c0, d0, c1, d1]) => {
    const w = Math.min(a1, c1) - Math.max(a0, c0), h = Math.min(b1, d1) - Math.max(b0, d0);
    if (w <= 0 || h <= 0) return 0;
    return (w * h) / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - w * h);
  };
  let best = null, most = 0.2;
  for (const other of others) {
    const value = share(face.box, other.box);
    if (value > most) [best, most] = [other, value];
  }
  return best;
}

// Mean distance of two shapes in % of the eyes' distance: of all points, and of each component.
export function distances(face, other, scheme) {
  const [left, right] = scheme.eye_corners.map((i) => face.landmarks[i]);
  const eyes = Math.hypot(left[0] - right[0], left[1] - right[1]);
  const gap = face.landmarks.map(([x, y], i) => (100 * Math.hypot(x - other.landmarks[i][0], y - other.landmarks[i][1])) / eyes);
  const present = Object.entries(scheme.components).filter(([, points]) => points.length); // own points may lack some
  const parts = present.map(([name, points]) => [name, mean(points.map((i) => gap[i]))]);
  return { all: mean(gap), parts };
}
