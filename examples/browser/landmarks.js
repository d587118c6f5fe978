// Landmarks from an exported file, with ONNX Runtime in the browser. The geometry is that of docs/guide/deploy.md.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more need a server that isolates the page (COOP and COEP headers)

const TOLERANCE = 0.03; // of the face's size: how near a point has to be
const MARGIN = 2; // crop pixels beyond the crop whose picture is read

/** Open a network: `content` (ArrayBuffer) is the `.onnx` file. */
export async function open(content) {
  const facts = metadata(new Uint8Array(content));
  if (!facts.config) throw new Error("expected a network written by srn export, found another file");
  const { frame_size: side, face_size: face, hidden_size: hidden } = JSON.parse(facts.config);
  const session = await ort.InferenceSession.create(content);
  return { session, side, face, hidden, points: JSON.parse(facts.mean_shape).length };
}

/**
 * Find the points of one face.
 *
 * `bitmap` is a picture (ImageBitmap), `box` [x0, y0, x1, y1] a face from the brows to the chin, in its pixels: 0-based,
 * pixel centres at whole numbers. Gives `landmarks` [[x, y], ...] in its pixels, `visibility` and `confidence`.
 */
export async function find(network, bitmap, box) {
  const { session, side, face, hidden, points } = network;
  const [x0, y0, x1, y1] = box;
  const scale = face / (Math.hypot(x1 - x0, y1 - y0) / Math.SQRT2); // crop pixels per picture pixel
  const shift = [(x0 + x1) / 2, (y0 + y1) / 2].map((middle) => (side - 1) / 2 - scale * middle);
  const crop = cut(bitmap, scale, shift, side);
  const zeros = (...shape) => new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), shape);
  const output = await session.run({
    image: new ort.Tensor("float32", crop, [1, 3, side, side]),
    initial_shape: zeros(1, points, 2),
    hidden: zeros(1, hidden),
    initial_weight: zeros(1), // 0: the network's own first shape
  });
  const last = output.shapes.data.subarray(-2 * points); // of the last iteration
  const landmarks = Array.from({ length: points }, (_, i) => [0, 1].map((k) => (last[2 * i + k] - shift[k]) / scale));
  const visibility = output.visibility && Array.from(output.visibility.data);
  const confidence = output.expected_error && Array.from(output.expected_error.data, sureness);
  return { box, landmarks, visibility: visibility ?? null, confidence: confidence ?? null };
}

/** The probability that a point lies within the tolerance, from its expected error. */
function sureness(error) {
  const ratio = TOLERANCE / Math.max(error / 2, 1e-6);
  return 1 - (1 + ratio) * Math.exp(-ratio);
}

/** Cut the crop of a picture: float32 RGB planes from 0 to 1. Crop = `scale` * picture + `shift`. */
function cut(bitmap, scale, shift, side) {
  // The part of the picture that the crop shows: at least one pixel, whose repeated edge fills the rest.
  const [low, high] = [-MARGIN, side - 1 + MARGIN].map((end) => shift.map((s) => (end - s) / scale));
  const within = (value, length) => Math.min(Math.max(value, 0), length - 1);
  const ends = [bitmap.width, bitmap.height].map((length, k) => [within(Math.floor(low[k]), length), within(Math.ceil(high[k]), length)]);
  const [left, top] = ends.map((end) => end[0]);
  let [width, height] = ends.map((end) => end[1] - end[0] + 1);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // behind transparent pixels
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, -left, -top);
  let pixels = context.getImageData(0, 0, width, height).data;
  let [ax, ay] = [scale, scale];
  let [bx, by] = [shift[0] + scale * left, shift[1] + scale * top];
  if (scale < 0.5) { // much smaller: area means first, or fine detail would flicker
    const [w, h] = [width, height].map((length) => Math.max(Math.round(length * scale * 1.5), 1));
    pixels = reduce(pixels, width, height, w, h);
    const [rx, ry] = [w / width, h / height];
    [bx, by] = [bx + ax * (0.5 / rx - 0.5), by + ay * (0.5 / ry - 0.5)];
    [ax, ay, width, height] = [ax / rx, ay / ry, w, h];
  }
  const planes = new Float32Array(3 * side * side);
  for (let row = 0; row < side; row++) {
    const y = (row - by) / ay, y0 = Math.floor(y), fy = y - y0;
    const [upper, lower] = [y0, y0 + 1].map((v) => within(v, height) * width);
    for (let column = 0; column < side; column++) {
      const x = (column - bx) / ax, x0 = Math.floor(x), fx = x - x0;
      const [a, b] = [within(x0, width), within(x0 + 1, width)];
      for (let c = 0; c < 3; c++) {
        const at = (line, place) => pixels[4 * (line + place) + c];
        const value = (1 - fy) * ((1 - fx) * at(upper, a) + fx * at(upper, b)) + fy * ((1 - fx) * at(lower, a) + fx * at(lower, b));
        planes[(c * side + row) * side + column] = Math.round(value) / 255; // 8 bits, as in training
      }
    }
  }
  return planes;
}

/** Reduce RGBA pixels to w x h by the means of areas: along the lines, then across them. */
function reduce(pixels, width, height, w, h) {
  const along = new Float32Array(4 * w * height), result = new Uint8ClampedArray(4 * w * h);
  const shares = (from, to) => Array.from({ length: to }, (_, i) => {
    const [begin, end] = [(i * from) / to, ((i + 1) * from) / to];
    const first = Math.floor(begin), count = Math.min(Math.ceil(end), from) - first;
    return [first, Array.from({ length: count }, (_, k) => ((Math.min(first + k + 1, end) - Math.max(first + k, begin)) * to) / from)];
  });
  shares(width, w).forEach(([first, parts], i) => {
    for (let row = 0; row < height; row++)
      for (let c = 0; c < 4; c++) along[4 * (row * w + i) + c] = parts.reduce((sum, part, k) => sum + part * pixels[4 * (row * width + first + k) + c], 0);
  });
  shares(height, h).forEach(([first, parts], i) => {
    for (let place = 0; place < 4 * w; place++) result[4 * w * i + place] = parts.reduce((sum, part, k) => sum + part * along[4 * w * (first + k) + place], 0);
  });
  return result;
}

/** Read the texts that an ONNX file holds beside its network: field 14 of the message (Protocol Buffers). */
function metadata(bytes) {
  const texts = {}, decoder = new TextDecoder();
  const fields = function* (begin, end) {
    let place = begin;
    const integer = () => {
      for (let value = 0, unit = 1; ; unit *= 128) {
        if (place >= end) throw new Error("expected an ONNX file, found one that ends early");
        const byte = bytes[place++];
        value += (byte & 127) * unit;
        if (byte < 128) return value;
      }
    };
    while (place < end) {
      const tag = integer(), kind = tag & 7;
      if (kind === 0) integer();
      else {
        const size = { 1: 8, 2: 0, 5: 4 }[kind] ?? NaN, length = size || integer();
        if (!(place + length <= end) || Number.isNaN(size)) throw new Error("expected an ONNX file, found another");
        yield [Math.floor(tag / 8), place, (place += length)];
      }
    }
  };
  for (const [field, begin, end] of fields(0, bytes.length)) {
    if (field !== 14) continue;
    const [key, value] = [...fields(begin, end)].map(([, from, to]) => decoder.decode(bytes.subarray(from, to)));
    texts[key] = value;
  }
  return texts;
}
