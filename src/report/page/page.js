"use strict";
(() => {
// What the numbers of an event mean; the writer of the data has the same order.
const EXECUTION = 0, ABORT = 1, COMMIT = 2, PARKED = 3;
const EXECUTED = 0, BLOCKED = 1;
const OUTCOMES = ["ran to its end", "met what was about to be written", "saw by itself that it was lost",
  "merged what is refused", "failed", "was under way when the block ended"];
const REASONS = ["had read what has changed: ", "had walked over what has changed: ", "had merged what is refused: ",
  "had failed before everything below it was committed"];
const LEGEND = [["frontier", "executed at the frontier"], ["ahead", "executed ahead, and lasted"],
  ["wasted", "executed for nothing"], ["abort", "abort"], ["commit", "commit"], ["parked", "asleep"]];

const get = id => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
const wall = Math.max(data.wall, 1);

// Events as objects, by worker in the order of time, and by transaction.
const txs = new Map();
const ofTx = tx => {
  if (!txs.has(tx)) txs.set(tx, { executions: [], aborts: new Map(), commit: null });
  return txs.get(tx);
};
const workers = data.workers.map((rows, worker) => rows.map(row => {
  const [kind, began, length, tx, incarnation, a, b, c] = row;
  const event = { kind, began, ended: began + length, tx, incarnation, worker };
  if (kind === EXECUTION) {
    [event.frontier, event.outcome, event.on] = [a === 1, b, c];
    ofTx(tx).executions.push(event);
  } else if (kind === ABORT) {
    [event.reason, event.key] = [a, b];
    ofTx(tx).aborts.set(incarnation, event);
  } else if (kind === COMMIT) {
    ofTx(tx).commit = event;
  }
  return event;
}));
for (const { executions } of txs.values()) executions.sort((a, b) => a.incarnation - b.incarnation);
const total = workers.reduce((sum, events) => sum + events.length, 0);
const commits = workers.flat().filter(event => event.kind === COMMIT).sort((a, b) => a.tx - b.tx);
const executions = workers.flat().filter(event => event.kind === EXECUTION).sort((a, b) => a.began - b.began);
const highest = executions.concat(commits).reduce((most, event) => Math.max(most, event.tx), 0);

const lasted = event => event.outcome === EXECUTED && ofTx(event.tx).commit?.incarnation === event.incarnation;
// How long a blocked transaction was put aside: until its next execution.
const waited = event => {
  const next = ofTx(event.tx).executions.find(other => other.incarnation > event.incarnation);
  return (next ? next.began : wall) - event.ended;
};
const colour = event => {
  if (event.kind === EXECUTION) return !lasted(event) ? "wasted" : event.frontier ? "frontier" : "ahead";
  return event.kind === ABORT ? "abort" : event.kind === COMMIT ? "commit" : "parked";
};
for (const events of workers) for (const event of events) event.colour = colour(event);

// Words.
const grouped = number => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
const time = (ns, unit = ns) =>
  unit >= 1e9 ? `${(ns / 1e9).toFixed(3)} s` : unit >= 1e6 ? `${(ns / 1e6).toFixed(3)} ms`
    : unit >= 1e3 ? `${(ns / 1e3).toFixed(2)} µs` : `${Math.round(ns)} ns`;
const becauseOf = abort => REASONS[abort.reason] + (abort.reason < 3 ? data.keys[abort.key] : "");
const fate = event => {
  const { aborts, commit } = ofTx(event.tx);
  if (event.outcome === BLOCKED) {
    return `met what transaction ${event.on} was about to write; waited ${time(waited(event))}`;
  }
  const abort = aborts.get(event.incarnation);
  if (abort) return `${OUTCOMES[event.outcome]}; aborted at ${time(abort.began, wall)}: ${becauseOf(abort)}`;
  if (lasted(event)) return `lasted; committed at ${time(commit.ended, wall)}`;
  return OUTCOMES[event.outcome] + (event.outcome === EXECUTED ? ", and was not committed" : "");
};
const words = event => {
  const when = `worker ${event.worker + 1}, at ${time(event.began, wall)}`;
  const took = `${when}, took ${time(event.ended - event.began)}`;
  switch (event.kind) {
    case EXECUTION:
      return `transaction ${event.tx}, incarnation ${event.incarnation}, executed ${event.frontier ? "at the frontier" : "ahead"}\n`
        + `${took}\n${fate(event)}`;
    case ABORT:
      return `transaction ${event.tx}, incarnation ${event.incarnation}, aborted\n${when}\n${becauseOf(event)}`;
    case COMMIT:
      return `transaction ${event.tx}${event.incarnation < 0 ? ", executed elsewhere" : `, incarnation ${event.incarnation}`}, committed\n${took}`;
    default:
      return `asleep\n${took}`;
  }
};

// The view: the time at the left edge, and the time across.
const canvas = get("picture"), pen = canvas.getContext("2d"), hint = get("hint");
const LEFT = 74, AXIS = 22, FIELD = 260, GAP = 14;
const lane = Math.max(5, Math.min(40, Math.floor(420 / Math.max(workers.length, 1))));
const laneTop = worker => AXIS + worker * lane;
const fieldTop = AXIS + workers.length * lane + GAP;
const height = fieldTop + FIELD;
const view = { from: 0, across: wall };
let width = 0, rows = { from: 0, to: highest + 1 }, hovered = null, chosen = null, colours = {};
const xOf = at => LEFT + (at - view.from) / view.across * (width - LEFT);
const atOf = x => view.from + (x - LEFT) / (width - LEFT) * view.across;
const yOf = tx => fieldTop + (tx - rows.from) / (rows.to - rows.from) * FIELD;

// The first event that ends at `at` or later.
const firstAfter = (events, at) => {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].ended < at) low = middle + 1; else high = middle;
  }
  return low;
};

// Draws a worker. What is narrower than a pixel is added up by pixel, and shown as shares of it: nothing is left out.
const ORDER = ["frontier", "ahead", "wasted", "commit", "parked"];
const drawLane = (events, top, tall) => {
  const shares = Object.fromEntries(ORDER.map(name => [name, new Float32Array(Math.ceil(width) + 2)]));
  let drawn = 0;
  const aborts = [];
  for (let at = firstAfter(events, view.from); at < events.length && events[at].began <= view.from + view.across; at++) {
    const event = events[at];
    drawn++;
    if (event.kind === ABORT) {
      aborts.push(event);
      continue;
    }
    const [left, right] = [Math.max(xOf(event.began), LEFT), Math.min(xOf(event.ended), width)];
    if (right - left >= 2) {
      pen.fillStyle = colours[event.colour];
      pen.fillRect(left, top + 1, right - left - .5, tall - 2);
      label(event, left, right, top, tall);
      continue;
    }
    for (let x = Math.floor(left); x <= right && x < width; x++) {
      const share = Math.min(right, x + 1) - Math.max(left, x);
      shares[event.colour][x] += Math.max(share, .02); // what takes no time is seen, too
    }
  }
  for (let x = LEFT; x < width; x++) {
    let [sum, bottom] = [0, top + tall - 1];
    for (const name of ORDER) sum += shares[name][x];
    if (sum === 0) continue;
    for (const name of ORDER) {
      const part = shares[name][x] / Math.max(sum, 1) * (tall - 2);
      if (part === 0) continue;
      pen.fillStyle = colours[name];
      pen.fillRect(x, bottom - part, 1, part);
      bottom -= part;
    }
  }
  // Aborts point down from above; where there are too many, they are a row of ticks.
  pen.fillStyle = colours.abort;
  const dense = aborts.length > (width - LEFT) / 12;
  for (const event of aborts) {
    const x = xOf(event.began);
    if (dense) {
      pen.fillRect(x, top, 1, Math.min(5, tall / 3));
      continue;
    }
    pen.beginPath();
    pen.moveTo(x - 3.5, top);
    pen.lineTo(x + 3.5, top);
    pen.lineTo(x, top + 7);
    pen.fill();
  }
  return drawn;
};

const label = (event, left, right, top, tall) => {
  if (tall < 12 || right - left < 24 || event.kind === PARKED) return;
  const text = event.kind === EXECUTION && event.incarnation > 0 ? `${event.tx}.${event.incarnation}` : String(event.tx);
  if (pen.measureText(text).width > right - left - 4) return;
  pen.fillStyle = colours.ground;
  pen.fillText(text, left + 3, top + tall / 2);
};

// Draws executions by transaction, and the commits as a line below which everything is final.
const drawField = () => {
  const until = view.from + view.across;
  const seen = executions.filter(event => event.ended >= view.from && event.began <= until);
  const shown = seen.concat(commits.filter(event => event.ended >= view.from && event.ended <= until));
  if (shown.length > 0) {
    rows = shown.reduce((rows, { tx }) => ({ from: Math.min(rows.from, tx), to: Math.max(rows.to, tx + 1) }),
      { from: Infinity, to: 0 });
  }
  const tall = Math.max(1.5, Math.min(10, FIELD / (rows.to - rows.from) - 1));
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, fieldTop, width - LEFT, FIELD);
  pen.clip();
  for (const event of seen) {
    const left = Math.max(xOf(event.began), LEFT);
    pen.fillStyle = colours[event.colour];
    pen.fillRect(left, yOf(event.tx), Math.max(xOf(event.ended) - left, 1.5), tall);
  }
  pen.strokeStyle = colours.commit;
  pen.lineWidth = 1;
  pen.beginPath();
  let [lastX, lastY] = [xOf(0), yOf(0)];
  pen.moveTo(lastX, lastY);
  for (const event of commits) {
    const [x, y] = [xOf(event.ended), yOf(event.tx + 1)];
    if (x - lastX < .3 && event !== commits.at(-1)) continue;
    pen.lineTo(x, lastY);
    pen.lineTo(x, y);
    [lastX, lastY] = [x, y];
  }
  pen.stroke();
  pen.restore();
};

const drawAxis = () => {
  pen.fillStyle = colours.ground;
  pen.fillRect(0, 0, LEFT, height);
  pen.fillRect(0, 0, width, AXIS);
  pen.fillStyle = pen.strokeStyle = colours.quiet;
  const rough = view.across / Math.max(2, (width - LEFT) / 110), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(times => times * power).find(step => step >= rough);
  for (let at = Math.ceil(view.from / step) * step; at <= view.from + view.across; at += step) {
    pen.fillRect(xOf(at), AXIS - 5, 1, 5);
    const [unit, name] = view.across >= 1e9 ? [1e9, "s"] : view.across >= 1e6 ? [1e6, "ms"] : view.across >= 1e3 ? [1e3, "µs"] : [1, "ns"];
    pen.fillText(`${Number((at / unit).toFixed(6))} ${name}`, xOf(at) + 4, 10);
  }
  if (lane >= 11) workers.forEach((_, worker) => pen.fillText(`worker ${worker + 1}`, 6, laneTop(worker) + lane / 2));
  else pen.fillText(`${workers.length} workers`, 6, AXIS + 8);
  pen.fillText(`tx ${grouped(rows.from)}`, 6, fieldTop + 8);
  pen.fillText(`tx ${grouped(Math.max(rows.to - 1, 0))}`, 6, height - 8);
};

// Outlines all of a transaction, and leads from where it was put aside to the execution that it waited for.
const drawMarked = event => {
  if (event === null || event.tx === undefined) return;
  const { executions, aborts, commit } = ofTx(event.tx);
  pen.strokeStyle = colours.text;
  pen.lineWidth = 1.5;
  const middle = other => laneTop(other.worker) + lane / 2;
  for (const other of [...executions, ...aborts.values(), ...(commit ? [commit] : [])]) {
    const left = xOf(other.began);
    if (xOf(other.ended) >= LEFT && left <= width) {
      pen.strokeRect(left, laneTop(other.worker) + .5, Math.max(xOf(other.ended) - left, 2), lane - 1);
    }
    if (other.outcome !== BLOCKED) continue;
    const by = ofTx(other.on).executions.find(below => below.ended >= other.began && below.outcome === EXECUTED);
    if (!by) continue;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(xOf(other.ended), middle(other));
    pen.lineTo(xOf(by.ended), middle(by));
    pen.stroke();
    pen.setLineDash([]);
  }
};

const draw = () => {
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    canvas.style.height = `${height}px`;
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.fillStyle = colours.ground;
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = colours.lane;
  workers.forEach((_, worker) => pen.fillRect(LEFT, laneTop(worker) + 1, width - LEFT, lane - 2));
  pen.fillRect(LEFT, fieldTop, width - LEFT, FIELD);
  const drawn = workers.reduce((sum, events, worker) => sum + drawLane(events, laneTop(worker), lane), 0);
  drawField();
  drawAxis();
  drawMarked(chosen);
  drawMarked(hovered);
  return drawn;
};
let waiting = false;
const redraw = () => {
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
  waiting = true;
};

// Moving about.
const show = (from, across) => {
  view.across = Math.min(wall, Math.max(across, 50));
  view.from = Math.max(0, Math.min(from, wall - view.across));
  redraw();
};
const zoom = (factor, x = (LEFT + width) / 2) => {
  const at = atOf(Math.max(x, LEFT));
  const across = Math.min(wall, view.across * factor);
  show(at - (at - view.from) * across / view.across, across);
};
const move = share => show(view.from + view.across * share, view.across);
const whole = () => show(0, wall);
const keep = event => {
  chosen = event;
  chosenTable();
  redraw();
};
const goTo = tx => {
  const found = txs.get(tx);
  if (!found) return;
  const all = [...found.executions, ...(found.commit ? [found.commit] : [])];
  const [from, to] = [Math.min(...all.map(event => event.began)), Math.max(...all.map(event => event.ended))];
  const room = Math.max((to - from) * .3, 2000);
  show(from - room, to - from + 2 * room);
  keep(found.executions[0] || found.commit);
};

// What is under the pointer: an abort before what it stands upon.
const under = (x, y) => {
  if (x < LEFT) return null;
  const near = view.across / (width - LEFT) * 4, at = atOf(x);
  const distance = event => Math.max(event.began - at, at - event.ended, 0);
  const nearest = events => events.filter(event => distance(event) <= near)
    .sort((a, b) => (a.kind !== ABORT) - (b.kind !== ABORT) || distance(a) - distance(b))[0] || null;
  if (y >= fieldTop) {
    const tx = rows.from + (y - fieldTop) / FIELD * (rows.to - rows.from), reach = 3 * (rows.to - rows.from) / FIELD;
    return executions.filter(event => Math.abs(event.tx + .5 - tx) <= Math.max(reach, .5) && distance(event) <= near)
      .sort((a, b) => Math.abs(a.tx + .5 - tx) - Math.abs(b.tx + .5 - tx))[0] || null;
  }
  const events = workers[Math.floor((y - AXIS) / lane)];
  if (y < AXIS || !events) return null;
  const first = firstAfter(events, at - near);
  let last = first;
  while (last < events.length && events[last].began <= at + near) last++;
  return nearest(events.slice(first, last));
};
const point = (x, y) => {
  const event = under(x, y);
  if (event !== hovered) redraw();
  hovered = event;
  hint.hidden = event === null;
  if (event === null) return;
  hint.textContent = words(event);
  hint.style.left = `${Math.max(0, Math.min(x + 14, width - hint.offsetWidth - 4))}px`;
  hint.style.top = `${y + 18}px`;
};
let dragged = null;
canvas.addEventListener("pointerdown", event => {
  dragged = { x: event.offsetX, from: view.from, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", event => {
  if (dragged === null) return point(event.offsetX, event.offsetY);
  const by = event.offsetX - dragged.x;
  dragged.moved ||= Math.abs(by) > 3;
  if (dragged.moved) show(dragged.from - by / (width - LEFT) * view.across, view.across);
});
canvas.addEventListener("pointerup", event => {
  if (dragged !== null && !dragged.moved) keep(under(event.offsetX, event.offsetY));
  dragged = null;
});
canvas.addEventListener("pointercancel", () => { dragged = null; });
canvas.addEventListener("pointerleave", () => { hovered = null; hint.hidden = true; redraw(); });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 30 : 1;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    return move((event.deltaX || event.deltaY) * lines / 1000);
  }
  zoom(1.0015 ** (event.deltaY * lines), event.offsetX);
}, { passive: false });
const KEYS = { "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6), 0: whole, Home: whole,
  ArrowLeft: () => move(-.2), ArrowRight: () => move(.2), Escape: () => keep(null) };
canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
get("whole").addEventListener("click", whole);
get("closer").addEventListener("click", () => zoom(.6));
get("wider").addEventListener("click", () => zoom(1 / .6));
get("find").addEventListener("change", event => { if (event.target.value !== "") goTo(Number(event.target.value)); });

// Tables. All text goes in as text.
const element = (name, text, ...inside) => {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  made.append(...inside);
  return made;
};
const table = (into, head, rows, empty) => {
  into.replaceChildren();
  if (rows.length === 0) return into.append(element("caption", empty));
  into.append(element("tr", null, ...head.map(text => element("th", text))));
  for (const { cells, tx } of rows) {
    const row = element("tr", null, ...cells.map(text => element("td", text)));
    if (tx !== undefined) {
      row.dataset.tx = tx;
      row.addEventListener("click", () => goTo(tx));
    }
    into.append(row);
  }
};
const most = map => [...map.values()].sort((a, b) => b.times - a.times || b.time - a.time).slice(0, 16);
const count = (map, key, what, time) => {
  if (!map.has(key)) map.set(key, { ...what, times: 0, time: 0 });
  const counted = map.get(key);
  [counted.times, counted.time] = [counted.times + 1, counted.time + time];
};
const tables = () => {
  const [keys, waits] = [new Map(), new Map()];
  for (const events of workers) {
    for (const event of events) {
      if (event.kind === ABORT && event.reason < 2) {
        const lost = ofTx(event.tx).executions.find(other => other.incarnation === event.incarnation);
        count(keys, event.key, { key: event.key, tx: event.tx }, lost ? lost.ended - lost.began : 0);
      }
      if (event.kind === EXECUTION && event.outcome === BLOCKED) {
        count(waits, `${event.tx} ${event.on}`, { tx: event.tx, on: event.on }, waited(event));
      }
    }
  }
  table(get("keys"), ["key", "aborts", "executions lost", "for example tx"], most(keys).map(({ key, tx, times, time: lost }) =>
    ({ cells: [data.keys[key], grouped(times), time(lost), String(tx)], tx })), "No execution was aborted over a key.");
  table(get("waits"), ["transaction", "waited for", "times", "until it went on"], most(waits).map(({ tx, on, times, time: lost }) =>
    ({ cells: [String(tx), String(on), grouped(times), time(lost)], tx })), "Nobody waited.");
  table(get("workers"), ["worker", "executing", "for nothing", "committing", "asleep", "else"], workers.map((events, worker) => {
    const took = names => events.reduce((sum, event) => sum + (names.includes(event.colour) ? event.ended - event.began : 0), 0);
    const times = [["frontier", "ahead"], ["wasted"], ["commit"], ["parked"]].map(took);
    const shares = [...times, Math.max(0, wall - times.reduce((a, b) => a + b, 0))];
    return { cells: [String(worker + 1), ...shares.map(took => `${(took / wall * 100).toFixed(1)} %`)] };
  }), "No worker.");
};
const chosenTable = () => {
  const into = get("chosen");
  into.hidden = chosen === null || chosen.tx === undefined;
  if (into.hidden) return;
  const { executions, aborts, commit } = ofTx(chosen.tx);
  const all = [...executions, ...aborts.values(), ...(commit ? [commit] : [])].sort((a, b) => a.began - b.began);
  const lines = element("table", null);
  table(lines, ["at", "took", "worker", "what"], all.map(event =>
    ({ cells: [time(event.began, wall), time(event.ended - event.began), String(event.worker + 1),
      words(event).split("\n").filter((_, line) => line !== 1).join(": ")] })), "");
  into.replaceChildren(element("h2", `Transaction ${chosen.tx}`), lines);
};

// Begin.
const dress = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ground", "lane", "text", "quiet", ...LEGEND.map(([name]) => name)]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
};
document.title = data.title;
get("title").textContent = data.title;
get("figures").append(...data.figures.map(([what, figure]) =>
  element("div", null, element("dt", what), element("dd", figure))));
for (const [name, text] of LEGEND) {
  const patch = element("i", null);
  patch.style.background = `var(--${name})`;
  get("legend").append(element("span", null, patch, text));
}
get("find").max = highest;
dress();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { dress(); redraw(); });
const fit = () => { width = Math.max(canvas.parentElement.clientWidth, LEFT + 100); };
new ResizeObserver(() => { fit(); redraw(); }).observe(canvas.parentElement);
tables();
fit();
const drawn = draw();
document.documentElement.dataset.events = total;
document.documentElement.dataset.drawn = drawn;
})();
