// The picture being looked at: its pixels, its faces without and with what hides them, and both drawn.

import { drawFaces, mean } from "./draw.js";
import { Occlusion } from "./occlude.js";

const SIDE = 1600; // of the canvas at most; larger pictures are shown smaller, and detected at their own size

export class Stage {
  constructor(canvas, second) {
    this.canvas = canvas;
    this.second = second;
    this.reset();
  }

  reset() {
    this.picture = null; // ImageBitmap, upright
    this.file = null; // the bytes as they came
    this.clean = null; // the record of the picture
    this.covered = null; // the record of the picture with what hides it
    this.other = null; // the record by other weights
    this.occlusion = new Occlusion();
  }

  open(file, picture) {
    this.reset();
    [this.picture, this.file] = [picture, file];
    this.scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    // Small pictures are drawn larger, so that points are round.
    if (Math.max(picture.width, picture.height) < SIDE / 2) this.scale = Math.min(4, SIDE / 2 / Math.max(picture.width, picture.height));
    for (const canvas of [this.canvas, this.second]) {
      canvas.width = Math.round(picture.width * this.scale);
      canvas.height = Math.round(picture.height * this.scale);
    }
  }

  get size() {
    return { width: this.picture.width, height: this.picture.height };
  }

  get faces() {
    return (this.covered ?? this.clean)?.faces ?? [];
  }

  // A pointer's place in pixels of the picture.
  place(event) {
    const area = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * this.picture.width;
    const y = ((event.clientY - area.top) / area.height) * this.picture.height;
    return [x, y];
  }

  // The picture with what hides it, as a PNG of its own size.
  async hidden() {
    const canvas = new OffscreenCanvas(this.picture.width, this.picture.height), context = canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0);
    this.occlusion.draw(context);
    return canvas.convertToBlob({ type: "image/png" });
  }

  draw(scheme, { lines, least }) {
    if (!this.picture) return;
    const shown = (record) => (record?.faces ?? []).filter((face) => !face.confidence || mean(face.confidence) >= least);
    const context = this.canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0, this.canvas.width, this.canvas.height);
    this.occlusion.draw(context, this.scale);
    if (this.covered) drawFaces(context, shown(this.clean), scheme, { scale: this.scale, ghost: true });
    drawFaces(context, shown(this.covered ?? this.clean), scheme, { scale: this.scale, lines });
    if (!this.other) return;
    const beside = this.second.getContext("2d");
    beside.drawImage(this.picture, 0, 0, this.second.width, this.second.height);
    this.occlusion.draw(beside, this.scale);
    drawFaces(beside, shown(this.other), scheme, { scale: this.scale, lines });
  }
}
