// What hides parts of a face: strokes of a brush, and objects that can be dragged. All in pixels of the picture.

let noise = null;

function noiseTile() {
  if (noise) return noise;
  noise = new OffscreenCanvas(64, 64);
  const context = noise.getContext("2d"), data = context.createImageData(64, 64);
  let state = 1; // the same noise each time (Park and Miller's generator): numbers can be compared
  for (let i = 0; i < data.data.length; i++) {
    state = (state * 48271) % 2147483647;
    data.data[i] = i % 4 === 3 ? 255 : (state / 2147483647) * 256;
  }
  context.putImageData(data, 0, 0);
  return noise;
}

// Outlines in units of the object's width about its middle.
const SHAPES = {
  mask: { ratio: 0.86, paint: paintMask },
  sunglasses: { ratio: 0.36, paint: paintGlasses },
  plain: { ratio: 1, paint: (c) => { c.fillStyle = "#6b7280"; c.fillRect(-0.5, -0.5, 1, 1); } },
  noise: { ratio: 1, paint: (c) => { c.imageSmoothingEnabled = false; c.drawImage(noiseTile(), -0.5, -0.5, 1, 1); } },
};

function paintMask(c) {
  c.fillStyle = "#8fc1de";
  c.beginPath();
  c.moveTo(-0.5, -0.3);
  c.quadraticCurveTo(0, -0.56, 0.5, -0.3);
  c.lineTo(0.45, 0.12);
  c.quadraticCurveTo(0.3, 0.5, 0, 0.5);
  c.quadraticCurveTo(-0.3, 0.5, -0.45, 0.12);
  c.closePath();
  c.fill();
  c.strokeStyle = "#6ea5c6";
  c.lineWidth = 0.012;
  for (const y of [-0.1, 0.06, 0.22]) {
    c.beginPath();
    c.moveTo(-0.44, y);
    c.quadraticCurveTo(0, y + 0.09, 0.44, y);
    c.stroke();
  }
}

function paintGlasses(c) {
  c.fillStyle = c.strokeStyle = "#101418";
  c.lineWidth = 0.07;
  for (const side of [-1, 1]) {
    c.beginPath();
    c.ellipse(side * 0.26, 0, 0.22, 0.44, 0, 0, 2 * Math.PI);
    c.fill();
  }
  c.fillRect(-0.5, -0.3, 1, 0.14);
}

export class Occlusion {
  constructor() {
    this.done = []; // strokes and objects, oldest first
  }

  get empty() {
    return this.done.length === 0;
  }

  stroke(width) {
    this.done.push({ kind: "brush", width, points: [] });
    return this.done.at(-1);
  }

  // Put an object where it belongs on a face, or in the middle of the picture.
  add(kind, face, scheme, size) {
    const object = { kind, x: size.width / 2, y: size.height / 2, width: Math.min(size.width, size.height) / 3, angle: 0, grown: 1 };
    if (face) {
      const middle = (points) => {
        const some = points.map((i) => face.landmarks[i]);
        return [some.reduce((a, p) => a + p[0], 0) / some.length, some.reduce((a, p) => a + p[1], 0) / some.length];
      };
      const [left, right] = scheme.eye_corners.map((i) => face.landmarks[i]);
      const eyes = Math.hypot(left[0] - right[0], left[1] - right[1]);
      object.angle = Math.atan2(right[1] - left[1], right[0] - left[0]);
      const [part, width] = { mask: ["mouth", 1.75], sunglasses: ["eyes", 1.6], plain: ["nose", 0.8], noise: ["mouth", 0.8] }[kind];
      const points = scheme.components[part];
      [object.x, object.y] = middle(points.length ? points : [...face.landmarks.keys()]); // own points may lack some
      object.width = eyes * width;
      if (kind === "mask") {
        object.x += Math.sin(object.angle) * -0.08 * eyes;
        object.y += Math.cos(object.angle) * 0.08 * eyes;
      }
    }
    this.done.push(object);
    return object;
  }

  undo() {
    this.done.pop();
  }

  clear() {
    this.done = [];
  }

  // The topmost object under a place of the picture.
  at(x, y) {
    for (const one of this.done.toReversed()) {
      if (one.kind === "brush") continue;
      const dx = x - one.x, dy = y - one.y, cos = Math.cos(-one.angle), sin = Math.sin(-one.angle);
      const u = dx * cos - dy * sin, v = dx * sin + dy * cos, w = one.width * one.grown;
      if (Math.abs(u) <= w / 2 && Math.abs(v) <= (w * SHAPES[one.kind].ratio) / 2) return one;
    }
    return null;
  }

  get last() {
    return this.done.findLast((one) => one.kind !== "brush") ?? null;
  }

  draw(context, scale = 1) {
    for (const one of this.done) {
      context.save();
      context.scale(scale, scale);
      if (one.kind === "brush") {
        context.strokeStyle = "#3b3f46";
        context.lineWidth = one.width;
        context.lineCap = context.lineJoin = "round";
        context.beginPath();
        one.points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
        if (one.points.length === 1) context.lineTo(one.points[0][0] + 0.1, one.points[0][1]);
        context.stroke();
      } else {
        const width = one.width * one.grown;
        context.translate(one.x, one.y);
        context.rotate(one.angle);
        context.scale(width, width * SHAPES[one.kind].ratio);
        SHAPES[one.kind].paint(context);
      }
      context.restore();
    }
  }
}
