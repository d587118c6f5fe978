// Videos and the camera: frames are tracked on this machine, drawn over the picture, and charted over time.

import { drawFaces, HIDDEN, mean, trackColor } from "./draw.js";

export class Player {
  constructor(elements, tell) {
    Object.assign(this, elements); // video, over, timeline
    this.tell = tell;
    this.frames = [];
    this.timeline.addEventListener("click", (event) => {
      const area = this.timeline.getBoundingClientRect();
      if (Number.isFinite(this.video.duration)) this.video.currentTime = (this.video.duration * (event.clientX - area.left)) / area.width;
    });
  }

  stop() {
    this.ended = true;
    this.request?.abort();
    cancelAnimationFrame(this.running);
    this.video.srcObject?.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
    this.video.load();
    this.frames = [];
  }

  begin(scheme) {
    this.stop();
    this.ended = false;
    this.scheme = scheme;
    this.request = new AbortController();
    const step = () => {
      this.drawFrame();
      this.drawTimeline();
      this.running = requestAnimationFrame(step);
    };
    step();
  }

  async openFile(file, scheme, limits) {
    if (file.size > limits.video_megabytes * 1e6) {
      throw new Error(`expected a video of at most ${limits.video_megabytes} MB, found ${(file.size / 1e6).toFixed(0)} MB`);
    }
    this.begin(scheme);
    this.camera = false;
    this.video.controls = true;
    this.video.src = URL.createObjectURL(file);
    const answer = await fetch(`page/video?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file, signal: this.request.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", length = null, problem = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const record = JSON.parse(line);
        if (record.error) problem = record.error;
        else if (record.faces) this.frames.push(record);
        else if (!record.done) length = record.length;
      }
      if (this.frames.length) this.tell(`${this.frames.length}${length ? ` of ${length}` : ""} frames tracked`);
    }
    const tracked = `${this.frames.length} frames tracked. Play it; click the chart to jump.`;
    if (problem) this.tell(this.frames.length ? `${tracked} (${problem})` : problem, true);
    else this.tell(tracked);
  }

  async openCamera(scheme) {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
    this.begin(scheme);
    this.camera = true;
    this.video.controls = false;
    this.video.srcObject = stream;
    await this.video.play();
    const session = crypto.randomUUID(), start = performance.now();
    const canvas = new OffscreenCanvas(this.video.videoWidth, this.video.videoHeight), context = canvas.getContext("2d");
    while (!this.ended) {
      const time = (performance.now() - start) / 1000;
      context.drawImage(this.video, 0, 0, canvas.width, canvas.height);
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
      const answer = await fetch(`page/frame?session=${session}&time_s=${time}`, { method: "POST", body: blob, signal: this.request.signal });
      const record = await answer.json();
      if (!answer.ok) throw new Error(record.error);
      this.frames.push(record);
      if (this.frames.length > 600) this.frames.shift();
      const rate = this.frames.length / Math.max(time - this.frames[0].time_s, 0.1);
      this.tell(`${record.faces.length} face${record.faces.length === 1 ? "" : "s"}, ${rate.toFixed(0)} frames a second`);
    }
  }

  current() {
    if (this.camera || !this.frames.length) return this.frames.at(-1);
    const time = this.video.currentTime + 1e-3;
    let low = 0, high = this.frames.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.frames[middle].time_s <= time) low = middle;
      else high = middle - 1;
    }
    return this.frames[low];
  }

  drawFrame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return;
    if (this.over.width !== width) [this.over.width, this.over.height] = [width, height];
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, width, height);
    const record = this.current();
    if (record) drawFaces(context, record.faces, this.scheme, { box: true });
  }

  drawTimeline() {
    const canvas = this.timeline, context = canvas.getContext("2d");
    const width = (canvas.width = canvas.clientWidth * devicePixelRatio), height = (canvas.height = 96 * devicePixelRatio);
    if (!this.frames.length) return;
    const first = this.camera ? this.frames[0].time_s : 0;
    const span = (this.camera ? this.frames.at(-1).time_s - first : this.video.duration || this.frames.at(-1).time_s) || 1;
    const x = (time) => ((time - first) / span) * width, y = (value) => height - 6 - value * (height - 12);
    const lines = new Map();
    for (const { time_s, faces } of this.frames) {
      for (const face of faces) {
        if (!lines.has(face.track_id)) lines.set(face.track_id, []);
        const seen = face.visibility ? mean(face.visibility.map((v) => (v < HIDDEN ? 0 : 1))) : NaN;
        lines.get(face.track_id).push([time_s, mean(face.confidence), seen]);
      }
    }
    context.lineWidth = 1.5 * devicePixelRatio;
    for (const [id, values] of lines) {
      context.strokeStyle = trackColor(id);
      for (const column of [1, 2]) {
        context.setLineDash(column === 2 ? [5 * devicePixelRatio, 4 * devicePixelRatio] : []);
        context.beginPath();
        values.forEach((row, n) => {
          const gap = n && row[0] - values[n - 1][0] > 0.5;
          if (n && !gap) context.lineTo(x(row[0]), y(row[column]));
          else context.moveTo(x(row[0]), y(row[column]));
        });
        context.stroke();
      }
    }
    if (this.camera) return;
    context.setLineDash([]);
    context.strokeStyle = "#8899";
    context.beginPath();
    context.moveTo(x(this.video.currentTime), 0);
    context.lineTo(x(this.video.currentTime), height);
    context.stroke();
  }
}
