"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (name, text = "", kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const count = (n) => n.toLocaleString("en-US");

// Index of the last element that is not above a value; -1 if there is none.
function lastAtOrBefore(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
}

// ---- where data come from: a server, or files beside the page -------------------------------------------------------

async function fetched(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  const error = await answer.json().catch(() => ({}));
  throw new Error(error.message || `the server answered ${answer.status}`);
}

const fromServer = {
  times: async (camera) => new Float64Array(await (await fetched(`times/${camera.label}`)).arrayBuffer()),
  keypoints: async (camera, first, last) =>
    new Float32Array(await (await fetched(`keypoints/${camera.label}/${first}-${last}`)).arrayBuffer()),
  places: async () => (await fetched("places")).json(),
  series: async (from, to, columns) => (await fetched(`series?from=${from}&to=${to}&columns=${columns}`)).json(),
  range: (camera, first) => [first, Math.min(camera.last, first + Math.ceil(camera.rate_hz) - 1)],
  async frames(camera, first, last, signal, take) {
    const reader = (await fetched(`frames/${camera.label}/${first}-${last}`, { signal })).body.getReader();
    let rest = new Uint8Array(0), number = first;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const both = new Uint8Array(rest.length + value.length);
      both.set(rest); both.set(value, rest.length);
      let at = 0;
      while (both.length - at >= 4) {
        const length = new DataView(both.buffer).getUint32(at, true);
        if (both.length - at - 4 < length) break;
        take(number++, length ? new Blob([both.subarray(at + 4, at + 4 + length)], { type: "image/jpeg" }) : null);
        at += 4 + length;
      }
      rest = both.slice(at);
    }
    if (number <= last) throw new Error(`frame ${count(number)} did not arrive`);
  },
};

function bytesOf(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

const given = {}, waiting = {};
window.give = (name, content) => { given[name] = content; };
function loaded(name) {
  waiting[name] ??= new Promise((done, failed) => {
    const script = make("script");
    script.src = `data/${name}.js`;
    script.onload = () => { script.remove(); const content = given[name]; delete given[name]; done(content); };
    script.onerror = () => { script.remove(); delete waiting[name]; failed(new Error(`the file data/${name}.js is missing`)); };
    document.head.append(script);
  });
  return waiting[name];
}

const fromFolder = {
  times: async (camera) => new Float64Array(bytesOf((await loaded("times"))[camera.label]).buffer),
  async keypoints(camera, first, last) {
    const all = new Float32Array(bytesOf((await loaded(`keypoints-${camera.label}`)) || "").buffer);
    const width = all.length / (camera.last - camera.first + 1);
    return all.subarray((first - camera.first) * width, (last - camera.first + 1) * width);
  },
  places: () => loaded("places"),
  range(camera, first) {
    const start = first - (first - camera.first) % camera.segment;
    return [start, Math.min(camera.last, start + camera.segment - 1)];
  },
  async frames(camera, first, last, signal, take) {
    const name = `frames-${camera.label}-${first}`;
    const pictures = await loaded(name);
    delete waiting[name];  // the player keeps the pictures; a second visit reads the file again
    pictures.forEach((text, i) => take(first + i, text ? new Blob([bytesOf(text)], { type: "image/jpeg" }) : null));
  },
  async series(from, to, columns) {
    this.tracks ??= (await loaded("tracks")).map((track) => ({
      ...track, times: new Float64Array(bytesOf(track.times).buffer), values: new Float32Array(bytesOf(track.values).buffer),
    }));
    return { from, to, columns, tracks: this.tracks.map((track) => ({ ...track, ...reduced(track, from, to, columns) })) };
  },
};

// Extremes in each column of a range, as the server has them.
function reduced({ times, values, kind, bounds }, from, to, columns) {
  const found = { column: [], low: [], high: [], at: [] }, middle = (bounds[0] + bounds[1]) / 2;
  for (let i = lastAtOrBefore(times, from - 1e-9) + 1; i < times.length && times[i] <= to; i++) {
    if (!Number.isFinite(values[i])) continue;
    const column = Math.min(columns - 1, Math.floor((times[i] - from) / (to - from) * columns));
    const end = found.column.length - 1;
    if (found.column[end] !== column) {
      found.column.push(column); found.low.push(values[i]); found.high.push(values[i]); found.at.push(times[i]);
      continue;
    }
    const far = Math.max(Math.abs(found.low[end] - middle), Math.abs(found.high[end] - middle));
    if (Math.abs(values[i] - middle) > far) found.at[end] = times[i];
    found.low[end] = Math.min(found.low[end], values[i]);
    found.high[end] = Math.max(found.high[end], values[i]);
  }
  if (kind === "line" || kind === "level") found.at = [];
  return found;
}

const source = data.mode === "server" ? fromServer : fromFolder;

// ---- cameras --------------------------------------------------------------------------------------------------------

const MOST_PICTURES = 2500;  // kept per camera, as JPEG

class Camera {
  constructor(about, place) {
    Object.assign(this, about);
    this.times = new Float64Array(0);
    this.pictures = new Map();
    this.points = new Map();
    this.names = [];
    this.shown = this.wanted = null;  // numbers of frames; null before the first
    this.request = null;
    this.failed = null;
    const figure = make("figure", "", place ? "camera small" : "camera");
    const screen = make("div", "", "screen");
    screen.style.aspectRatio = `${this.shown_px()[0]} / ${this.shown_px()[1]}`;
    this.canvas = make("canvas"); this.over = make("canvas", "", "over");
    [this.canvas.width, this.canvas.height] = this.shown_px();
    [this.over.width, this.over.height] = this.shown_px().map((n) => n * 2);
    this.message = make("p"); this.message.hidden = true;
    screen.append(this.canvas, this.over, this.message);
    const caption = make("figcaption");
    this.where = make("span");
    caption.append(make("strong", this.label), this.where);
    if (this.remark) caption.append(make("span", this.remark, "off"));
    figure.append(screen, caption);
    $("stage").append(figure);
  }

  shown_px() { return data.cameras.find((each) => each.label === this.label).shown; }

  frameAt(time) {
    const place = lastAtOrBefore(this.times, time);
    return place < 0 ? null : this.first + place;
  }

  timeOf(number) { return this.times[clamp(number, this.first, this.last) - this.first]; }

  // Show the last frame whose time is not after the playhead.
  show(time, ahead_s) {
    if (!this.times.length) return;
    const number = this.frameAt(time);
    this.wanted = number;
    if (number === null) {
      if (this.shown !== null) this.clear();
      this.shown = null;
      this.say(`begins at ${this.times[0].toFixed(3)} s`);
      return;
    }
    if (this.failed !== null && this.failed !== number) this.failed = null;
    if (number !== this.shown && this.pictures.has(number)) this.draw(number);
    if (this.failed === null) this.fill(number, Math.ceil(ahead_s * this.rate_hz));
  }

  isReady(time) {
    const number = this.frameAt(time);
    return number === null || this.pictures.has(number) || this.failed !== null;
  }

  async draw(number) {
    if (this.drawing === number) return;
    this.drawing = number;
    const picture = this.pictures.get(number);
    let bitmap = null;
    try {
      bitmap = picture && await createImageBitmap(picture);
    } catch (error) {
      if (this.drawing === number) { this.drawing = null; this.fail(number, error); }
      return;
    }
    if (this.drawing === number && (number === this.wanted || player.isPlaying)) {
      if (bitmap) {
        this.canvas.getContext("2d").drawImage(bitmap, 0, 0, this.canvas.width, this.canvas.height);
        this.message.hidden = true;
      } else {
        this.clear();
        this.say(`frame ${count(number)} does not decode`);
      }
      this.shown = number;
      this.where.textContent = `frame ${count(number)} · ${this.timeOf(number).toFixed(4)} s`;
      this.drawPoints();
    }
    if (this.drawing === number) this.drawing = null;
    if (bitmap) bitmap.close();
    if (this.wanted !== null && this.shown !== this.wanted && this.pictures.has(this.wanted)) this.draw(this.wanted);
  }

  clear() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.over.getContext("2d").clearRect(0, 0, this.over.width, this.over.height);
    this.where.textContent = "";
  }

  say(text) { this.message.textContent = text; this.message.hidden = false; }

  fail(number, error) { this.failed = number; this.clear(); this.shown = null; this.say(error.message); }

  // Ask for a frame and those after it that are not here.
  fill(number, ahead) {
    const { request } = this;
    if (!this.pictures.has(number)) {
      if (request && request.next <= number && number <= request.last && number - request.next < this.rate_hz) return;
      if (request) request.stop.abort();
      this.ask(number);
    } else if (!request) {
      for (let i = number + 1; i <= Math.min(number + ahead, this.last); i++) {
        if (!this.pictures.has(i)) { this.ask(i); return; }
      }
    }
  }

  async ask(number) {
    const [first, last] = source.range(this, number);
    const request = this.request = { next: first, last, stop: new AbortController() };
    if (this.is_posed) this.askPoints(first, last);
    try {
      await source.frames(this, first, last, request.stop.signal, (i, picture) => {
        request.next = i + 1;
        this.pictures.delete(i);
        this.pictures.set(i, picture);
        if (i === this.wanted && this.shown !== i) this.draw(i);
      });
    } catch (error) {
      if (error.name !== "AbortError" && this.wanted !== null && !this.pictures.has(this.wanted)) this.fail(this.wanted, error);
    }
    if (this.request === request) this.request = null;
    for (const old of this.pictures.keys()) {
      if (this.pictures.size <= MOST_PICTURES) break;
      this.pictures.delete(old); this.points.delete(old);
    }
    player.turn();
  }

  async askPoints(first, last) {
    try {
      const all = await source.keypoints(this, first, last), width = all.length / (last - first + 1);
      if (!width) return;
      for (let i = first; i <= last; i++) this.points.set(i, all.subarray((i - first) * width, (i - first + 1) * width));
      this.drawPoints();
    } catch (error) { /* frames are shown without them */ }
  }

  drawPoints() {
    const context = this.over.getContext("2d"), points = this.points.get(this.shown);
    context.clearRect(0, 0, this.over.width, this.over.height);
    if (!points || !$("points").checked) return;
    const n = points.length / 3, scale = this.over.width / this.width;
    context.font = `${Math.round(this.over.width / 46)}px sans-serif`;
    for (let k = 0; k < n; k++) {
      // Pixel centres are whole numbers in tables.
      const x = (points[3 * k] + 0.5) * scale, y = (points[3 * k + 1] + 0.5) * scale, isLikely = points[3 * k + 2] >= 0.9;
      if (!Number.isFinite(x + y)) continue;
      context.strokeStyle = context.fillStyle = `hsl(${Math.round(360 * k / n)} 95% 62%)`;
      context.globalAlpha = isLikely ? 1 : 0.45;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x, y, this.over.width / 160, 0, 2 * Math.PI);
      if (isLikely) context.fill(); else context.stroke();
      if ($("names").checked && isLikely) context.fillText(this.names[k] || "", x + 8, y - 6);
    }
    context.globalAlpha = 1;
  }
}

const cameras = data.cameras.map((about, place) => new Camera(about, place));
const named = (label) => cameras.find((camera) => camera.label === label);

// ---- player: one playhead, a time on the main clock -----------------------------------------------------------------

const player = {
  time: data.start_s, isPlaying: false, speed: 1, before: 0,
  seek(time) {
    this.time = clamp(time, data.start_s, data.stop_s);
    this.turn();
    axis.follow(this.time);
  },
  turn() {
    for (const camera of cameras) camera.show(this.time, this.isPlaying ? 2 * Math.max(1, this.speed) : 0.5);
    $("time").textContent = `${this.time.toFixed(3)} s`;
    axis.draw();
  },
  play(isPlaying) {
    if (isPlaying && this.time >= data.stop_s) this.time = data.start_s;
    this.isPlaying = isPlaying;
    $("play").textContent = isPlaying ? "❚❚" : "▶";
    $("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    $("state").textContent = "";
    this.before = performance.now();
    if (isPlaying) requestAnimationFrame((now) => this.tick(now));
    this.turn();
  },
  tick(now) {
    if (!this.isPlaying) return;
    const next = Math.min(data.stop_s, this.time + Math.min(0.1, (now - this.before) / 1000) * this.speed);
    this.before = now;
    // All cameras wait for the slowest, so that they stay in step.
    const late = cameras.filter((camera) => !camera.isReady(next));
    $("state").textContent = late.length ? `waiting for ${late.map((camera) => camera.label).join(", ")}` : "";
    if (late.length) for (const camera of late) camera.fill(camera.frameAt(next), 0);
    else { this.time = next; axis.follow(next); }
    this.turn();
    if (this.time >= data.stop_s) this.play(false); else requestAnimationFrame((later) => this.tick(later));
  },
  step(n) {
    const camera = named($("go-camera").value), at = camera.frameAt(this.time);
    this.play(false);
    this.seek(camera.timeOf(at === null ? camera.first : at + n));
  },
};

// ---- axis: all tracks on one range of time --------------------------------------------------------------------------

const LEVELS = ["measured", "interpolated", "extrapolated", "assumed"];
const HEIGHTS = { line: 46, points: 46, level: 24, marks: 24 }, TOP = 40;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const axis = {
  canvas: $("tracks"), from: data.start_s, to: data.stop_s, series: null, places: [], hidden: new Set(), asked: null, isAsking: false, isOpen: false,
  get width() { return this.canvas.clientWidth; },
  x(time) { return (time - this.from) / (this.to - this.from) * this.width; },
  timeAt(x) { return this.from + x / this.width * (this.to - this.from); },
  lanes() { return this.series ? this.series.tracks.filter((track) => !this.hidden.has(track.camera || "session")) : []; },
  look(from, to) {
    const whole = Math.max(1e-3, data.stop_s - data.start_s), span = clamp(to - from, Math.min(0.02, whole), whole);
    const middle = (from + to) / 2;
    this.from = clamp(middle - span / 2, data.start_s, data.start_s + whole - span);
    this.to = this.from + span;
    this.load();
    this.draw();
  },
  zoom(factor, at = (this.from + this.to) / 2) { this.look(at - (at - this.from) * factor, at + (this.to - at) * factor); },
  follow(time) {
    if (time >= this.from && time <= this.to) return;
    const span = this.to - this.from;
    if (player.isPlaying) this.look(time, time + span); else this.look(time - span / 2, time + span / 2);
  },
  async load() {
    if (!this.isOpen) return;
    this.asked = [this.from, this.to, clamp(Math.round(this.width || 800), 1, 2000)];
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      while (this.asked) {
        const wish = this.asked;
        this.asked = null;
        this.series = await source.series(...wish);
        if (!$("chips").childElementCount) this.addChips();
        this.draw();
      }
    } catch (error) { note(`tracks: ${error.message}`); }
    this.isAsking = false;
  },
  addChips() {
    for (const name of new Set(this.series.tracks.map((track) => track.camera || "session"))) {
      const label = make("label"), box = Object.assign(make("input"), { type: "checkbox", checked: true });
      box.onchange = () => { if (box.checked) this.hidden.delete(name); else this.hidden.add(name); this.draw(); };
      label.append(box, ` ${name}`);
      $("chips").append(label);
    }
  },
  draw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => { this.isDue = false; this.paint(); });
  },
  paint() {
    const { canvas } = this, lanes = this.lanes(), dense = window.devicePixelRatio || 1;
    const height = TOP + lanes.reduce((sum, track) => sum + HEIGHTS[track.kind], 0) + 4;
    if (canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
    const wide = Math.round(this.width * dense), high = Math.round(height * dense);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const c = canvas.getContext("2d");
    c.setTransform(dense, 0, 0, dense, 0, 0);
    c.clearRect(0, 0, this.width, height);
    const colours = {};
    for (const name of ["paper", "raised", "ink", "quiet", "rule", "grid", "line", "area", "off", "head", "lost", "measured", "interpolated", "extrapolated", "assumed"]) colours[name] = css(`--${name}`);
    c.font = "11px system-ui, sans-serif";
    this.paintWhole(c, colours);
    this.paintTicks(c, colours, height);
    let top = TOP;
    for (const track of lanes) {
      this.paintTrack(c, colours, track, top, HEIGHTS[track.kind]);
      top += HEIGHTS[track.kind];
    }
    c.fillStyle = colours.head;
    c.fillRect(Math.round(this.x(player.time)) - 0.5, 16, 1.5, height - 16);
    $("window").textContent = `${this.from.toFixed(2)} – ${this.to.toFixed(2)} s`;
  },
  paintWhole(c, colours) {
    const scale = this.width / (data.stop_s - data.start_s || 1), at = (time) => (time - data.start_s) * scale;
    c.fillStyle = colours.raised; c.fillRect(0, 0, this.width, 14);
    c.fillStyle = colours.area; c.fillRect(at(this.from), 0, Math.max(3, (this.to - this.from) * scale), 14);
    for (const place of this.places) {
      if (place.time === null) continue;
      c.fillStyle = place.kind === "likelihood" ? colours.lost : colours.off;
      c.fillRect(at(place.time) - 1, 3, 2, 8);
    }
    c.fillStyle = colours.head; c.fillRect(at(player.time) - 0.75, 0, 1.5, 14);
  },
  paintTicks(c, colours, height) {
    const rough = (this.to - this.from) / Math.max(2, this.width / 110), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (let i = Math.ceil(this.from / step); i * step <= this.to; i++) {
      const x = this.x(i * step), text = `${(i * step).toFixed(digits)} s`;
      c.fillStyle = colours.grid; c.fillRect(x, 18, 1, height - 18);
      c.fillStyle = colours.quiet;
      if (x + c.measureText(text).width + 4 < this.width) c.fillText(text, x + 4, 29);
    }
  },
  paintTrack(c, colours, track, top, height) {
    const { from, to, columns } = this.series, wide = (to - from) / columns, label = `${track.name}`;
    const left = (column) => this.x(from + column * wide), step = Math.max(1, this.x(from + wide) - this.x(from));
    const [low, high] = track.bounds, span = high - low || 1;
    const y = (value) => top + height - 4 - (value - low) / span * (height - 20);
    c.fillStyle = colours.rule; c.fillRect(0, top + height - 0.5, this.width, 0.5);
    c.save();
    c.beginPath(); c.rect(0, top, this.width, height); c.clip();
    if (track.kind === "level") {
      const shades = [colours.measured, colours.interpolated, colours.extrapolated, colours.assumed];
      track.column.forEach((column, i) => {
        // A frame lasts until the next; a longer gap is no frame.
        const next = track.column[i + 1] ?? column + 1, isNear = next - column < columns / 20, level = track.high[i];
        c.fillStyle = shades[level] || colours.lost;
        c.fillRect(left(column), top + (level ? 13 : 15), Math.max(step, level ? 2 : 0, isNear ? left(next) - left(column) : 0), level ? 9 : 5);
      });
    } else if (track.kind === "marks") {
      c.fillStyle = track.name === "error" ? colours.off : colours.line;
      track.at.forEach((time) => c.fillRect(this.x(time) - 0.75, top + 12, 1.5, height - 14));
    } else if (track.kind === "points") {
      c.fillStyle = colours.line;
      track.at.forEach((time, i) => { for (const value of [track.low[i], track.high[i]]) { c.beginPath(); c.arc(this.x(time), y(value), 2.4, 0, 7); c.fill(); } });
    } else {
      c.strokeStyle = colours.line; c.lineWidth = 1; c.beginPath();
      track.column.forEach((column, i) => {
        const x = left(column) + step / 2;
        if (i && column - track.column[i - 1] < columns / 8) c.lineTo(x, y(track.low[i])); else c.moveTo(x, y(track.low[i]));
        c.lineTo(x, y(track.high[i]));
      });
      c.stroke();
    }
    const seen = track.kind === "level" ? LEVELS.filter((_, level) => track.low.includes(level) || track.high.includes(level)) : [];
    const said = seen.length ? `: ${seen.join(", ")}` : "";
    c.fillStyle = colours.paper; c.globalAlpha = 0.8; c.fillRect(0, top + 1, c.measureText(label + said).width + 8, 13); c.globalAlpha = 1;
    c.fillStyle = colours.ink; c.fillText(label, 3, top + 11);
    c.fillStyle = colours.quiet; c.fillText(said, 3 + c.measureText(label).width, top + 11);
    if (track.kind === "line" || track.kind === "points") {
      const text = track.column.length ? `${short(low)} to ${short(high)} ${track.unit}`.trim() : "no value here";
      const at = this.width - c.measureText(text).width - 3;
      c.fillStyle = colours.paper; c.globalAlpha = 0.8; c.fillRect(at - 3, top + 1, this.width, 13); c.globalAlpha = 1;
      c.fillStyle = colours.quiet; c.fillText(text, at, top + 11);
    }
    c.restore();
  },
  // A click near a pulse or a mark is a click on it.
  press(x, y) {
    if (y < 16) { player.seek(data.start_s + x / this.width * (data.stop_s - data.start_s)); return; }
    let top = TOP, time = this.timeAt(x);
    for (const track of this.lanes()) {
      if (y >= top && y < top + HEIGHTS[track.kind] && track.at.length) {
        const near = track.at.reduce((best, at) => (Math.abs(at - time) < Math.abs(best - time) ? at : best));
        if (Math.abs(this.x(near) - x) < 10) time = near;
      }
      top += HEIGHTS[track.kind];
    }
    player.seek(time);
  },
};
const short = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3))));

const pointers = new Map();
let drag = null;
axis.canvas.onpointerdown = (event) => {
  axis.canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event.offsetX);
  drag = { x: event.offsetX, from: axis.from, to: axis.to, moved: pointers.size > 1, apart: spread() };
};
const spread = () => { const all = [...pointers.values()]; return all.length > 1 ? Math.max(20, Math.abs(all[0] - all[1])) : 0; };
axis.canvas.onpointermove = (event) => {
  if (!pointers.has(event.pointerId) || !drag) return;
  pointers.set(event.pointerId, event.offsetX);
  const scale = (drag.to - drag.from) / axis.width;
  if (pointers.size > 1) {
    const factor = drag.apart / spread(), at = drag.from + drag.x * scale;
    axis.look(at - (at - drag.from) * factor, at + (drag.to - at) * factor);
  } else if (drag.moved || Math.abs(event.offsetX - drag.x) > 5) {
    drag.moved = true;
    const by = (drag.x - event.offsetX) * scale;
    axis.look(drag.from + by, drag.to + by);
  }
};
axis.canvas.onpointerup = (event) => {
  if (drag && !drag.moved && pointers.size === 1) axis.press(event.offsetX, event.offsetY);
  pointers.delete(event.pointerId);
  if (!pointers.size) drag = null;
};
axis.canvas.onpointercancel = (event) => { pointers.delete(event.pointerId); drag = null; };
axis.canvas.addEventListener("wheel", (event) => {
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const by = (event.deltaX || event.deltaY) / axis.width * (axis.to - axis.from);
    axis.look(axis.from + by, axis.to + by);
  } else axis.zoom(Math.exp(clamp(event.deltaY, -200, 200) / 300), axis.timeAt(event.offsetX));
  event.preventDefault();
}, { passive: false });

// ---- places, verdicts, notes ----------------------------------------------------------------------------------------

function note(text) { $("notes").append(make("p", text)); }

function goTo(place) {
  player.play(false);
  const span = Math.min(axis.to - axis.from, 10);
  axis.look(place.time - span / 2, place.time + span / 2);
  player.seek(place.time);
  if (named(place.camera)) $("go-camera").value = place.camera;
}

function listPlaces(places) {
  $("places").replaceChildren(...places.map((place) => {
    const row = make("button"), pill = make("span", place.outcome, "pill");
    pill.style.cssText = place.css;
    const at = place.time === null ? "whole video" : `${place.time.toFixed(2)} s`;
    row.append(pill, make("span", place.camera), make("span", place.title), make("span", place.text, "quiet"), make("span", at, "quiet"));
    row.disabled = place.time === null;
    row.onclick = () => goTo(place);
    return row;
  }));
  if (!places.length) $("places").append(make("p", "Nothing: all checks pass, no pulse is odd, no keypoints are lost.", "quiet"));
}

async function loadPlaces() {
  try {
    const found = await source.places();
    axis.places = found.places;
    listPlaces(found.places);
    for (const [label, names] of Object.entries(found.keypoints)) named(label).names = names;
    found.remarks.forEach(note);
    if (data.mode === "server") offerVerdicts(Object.keys(found.keypoints), found.verdicts);
    axis.draw();
  } catch (error) { $("places").replaceChildren(make("p", error.message)); }
}

function offerVerdicts(labels, verdicts) {
  const form = $("verdict");
  $("judge").hidden = !labels.length;
  form.camera.replaceChildren(...labels.map((label) => new Option(label)));
  form.by.value = data.by;
  const tell = () => { $("judged").textContent = verdicts[form.camera.value] || "no verdict yet"; };
  form.camera.onchange = tell;
  tell();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const body = JSON.stringify({ camera: form.camera.value, decision: event.submitter.value, reason: form.reason.value, by: form.by.value });
    try {
      const headers = { "Content-Type": "application/json", "X-Secret": location.pathname.split("/")[1] };
      const answer = await (await fetched("verdict", { method: "POST", headers, body })).json();
      verdicts[form.camera.value] = answer.verdict;
      form.reason.value = "";
      tell();
    } catch (error) { $("judged").textContent = error.message; }
  };
}

// ---- controls -------------------------------------------------------------------------------------------------------

$("play").onclick = () => player.play(!player.isPlaying);
$("back").onclick = () => player.step(-1);
$("on").onclick = () => player.step(1);
$("speed").onchange = () => { player.speed = Number($("speed").value); };
$("in").onclick = () => axis.zoom(0.5, player.time);
$("out").onclick = () => axis.zoom(2, player.time);
$("fit").onclick = () => axis.look(data.start_s, data.stop_s);
$("points").onchange = $("names").onchange = () => cameras.forEach((camera) => camera.drawPoints());
$("go-camera").append(...cameras.map((camera) => new Option(camera.label)));
$("go").onsubmit = (event) => {
  event.preventDefault();
  const number = Number($("go-frame").value.replace(/[,\s]/g, ""));
  if (Number.isInteger(number)) viewer.seekFrame($("go-camera").value, number);
};
document.addEventListener("keydown", (event) => {
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    " ": () => player.play(!player.isPlaying), ArrowLeft: () => player.step(event.shiftKey ? -10 : -1),
    ArrowRight: () => player.step(event.shiftKey ? 10 : 1), Home: () => player.seek(data.start_s), End: () => player.seek(data.stop_s),
    "+": () => axis.zoom(0.5, player.time), "-": () => axis.zoom(2, player.time),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});
new ResizeObserver(() => { axis.load(); axis.draw(); }).observe(axis.canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => axis.draw());

// For scripts: the console of the browser, and tests.
const viewer = window.viewer = {
  seek: (time) => player.seek(time),
  seekFrame(label, number) { player.play(false); player.seek(named(label).timeOf(number)); },
  state: () => ({
    time: player.time, isPlaying: player.isPlaying, from: axis.from, to: axis.to,
    tracks: axis.series ? axis.series.tracks.map((track) => track.name) : [],
    shown: Object.fromEntries(cameras.map((camera) => [camera.label, camera.shown])),
    wanted: Object.fromEntries(cameras.map((camera) => [camera.label, camera.wanted])),
    isSettled: cameras.every((camera) => camera.times.length && camera.shown === camera.wanted),
  }),
  canvas: (label) => named(label).canvas,
  laneTop: (name) => {
    const lanes = axis.lanes(), place = lanes.findIndex((track) => track.name === name);
    return lanes.slice(0, place).reduce((sum, track) => sum + HEIGHTS[track.kind], TOP);
  },
};

if (cameras.every((camera) => camera.remark)) $("clock-note").textContent = "no frame times: each camera by its own clock";
for (const camera of cameras) {
  source.times(camera).then((times) => { camera.times = times; player.turn(); }).catch((error) => camera.say(error.message));
}
// Pictures come first: tracks and places take longer to read, on the same cores.
const began = performance.now();
const opening = setInterval(() => {
  if (!cameras.every((camera) => camera.shown !== null || camera.failed !== null) && performance.now() - began < 1500) return;
  clearInterval(opening);
  axis.isOpen = true;
  axis.load();
  loadPlaces();
}, 30);
})();
