// A plot of what devices have shown: zoom, a crosshair, what is seen as numbers, PNG and CSV.

import { makeCard } from "./card.js";
import { drawCrosshair, drawLanes, heightOf, LEFT, makeLanes, makeSeries, RIGHT, seconds, valueAt, wall } from "./chart.js";
import { history, recall, watch } from "./history.js";
import { asDecimal, asNumber, asPercent, asText, board, fill, isShare, make, textScale, words } from "./panel.js";
import { register } from "./widgets.js";

register("plot", drawPlot);

const SHORTEST = 2; // seconds that are seen at least
const LONGEST = 24 * 3600;
const TELL = 250; // milliseconds between two looks at the numbers, which nobody reads faster
const QUICKEST = 40; // … between two pictures of a plot that only moves with the time
const COLOURS = ["--plot-1", "--plot-2", "--plot-3", "--plot-4", "--plot-5", "--plot-6"];

/** The card of a plot; `plot` are names of devices, `span` the seconds that are seen at first. */
function drawPlot({ plot: names, span = 120, label }, number) {
  const series = names.map((name, i) => makeSeries(board.devices[name].description, COLOURS[i % COLOURS.length]));
  series.forEach(({ name }) => watch(name));
  const title = label || words["over-time"];
  const card = makeCard({ label: title }, `plot-${number}`, "h3");
  card.element.dataset.widget = "plot";
  const canvas = make("canvas", { role: "img", tabIndex: 0, "aria-label": title });
  const glass = make("canvas", { className: "glass", "aria-hidden": "true" }); // the crosshair, over the curves
  const said = make("p", { className: "unseen", role: "status" });
  const table = makeTable(series, card.labelId, () => {
    lanes = makeLanes(series.filter(({ shown }) => shown));
    toldAt = 0;
    refresh();
  });
  const view = { span, end: null }; // end null: now, and it moves on
  let lanes = makeLanes(series);
  let cross = NaN; // where the crosshair is, as a share of what is seen
  let asked = false; // a picture is on its way
  let toldAt = 0;
  const now = button(words.now, words.now, () => move(null));
  card.head.append(
    make(
      "p",
      { className: "tools" },
      button("−", words["zoom-out"], () => zoom(2)),
      button("+", words["zoom-in"], () => zoom(0.5)),
      now,
      button("PNG", words.png, savePicture),
      button("CSV", words.csv, () => save(asCsv(series), `${names[0]}.csv`)),
    ),
  );
  card.element.append(make("div", { className: "chart" }, canvas, glass), table.element, said);

  /** Have a new picture with the next frame. */
  function refresh() {
    if (!asked) requestAnimationFrame(paint);
    asked = true;
  }
  function paint() {
    asked = false;
    if (document.hidden || !canvas.isConnected || !canvas.clientWidth) return;
    const end = view.end ?? seconds();
    const seen = { from: end - view.span, to: end, width: canvas.clientWidth / textScale(), height: heightOf(lanes) };
    const style = getComputedStyle(document.documentElement);
    const known = {};
    const colour = (name) => (known[name] ??= style.getPropertyValue(name));
    drawLanes(cleared(canvas, seen), lanes, seen, colour);
    if (glass.hidden !== Number.isNaN(cross)) glass.hidden = !glass.hidden;
    if (!glass.hidden) drawCrosshair(cleared(glass, seen), lanes, seen, crossTime(), colour);
    if (performance.now() - toldAt >= TELL) describe();
  }
  const crossTime = () => (view.end ?? seconds()) - (1 - cross) * view.span;
  function describe() {
    toldAt = performance.now();
    const told = table.update(Number.isNaN(cross) ? null : crossTime());
    canvas.setAttribute("aria-label", fill(words.plot, { what: told.join(", "), span: Math.round(view.span) }));
    return told;
  }
  function zoom(by, share = 1) {
    const end = view.end ?? seconds();
    const before = view.span;
    view.span = Math.min(LONGEST, Math.max(SHORTEST, view.span * by));
    if (view.end !== null) view.end = end - (1 - share) * (before - view.span);
    refresh();
  }
  function move(end) {
    view.end = end === null || end >= seconds() ? null : end;
    const isNow = String(view.end === null);
    if (now.getAttribute("aria-disabled") !== isNow) now.setAttribute("aria-disabled", isNow);
    refresh();
  }
  const pan = (by) => move((view.end ?? seconds()) + by);
  const seenWidth = () => canvas.clientWidth - (LEFT + RIGHT) * textScale(); // of the curves
  const shareAt = ({ offsetX }) => (offsetX - LEFT * textScale()) / seenWidth();
  /** Put the crosshair to a share of what is seen, or take it away. */
  function point(share) {
    cross = share >= 0 && share <= 1 ? share : NaN;
    toldAt = 0;
    refresh();
  }
  /** Move the crosshair by a share of what is seen, and say what is there. */
  function step(by) {
    point(Math.min(1, Math.max(0, (Number.isNaN(cross) ? 1 : cross) + by)));
    said.textContent = describe().join(", ");
  }

  canvas.addEventListener("keydown", (event) => {
    const { key, shiftKey } = event;
    const does = {
      "+": () => zoom(0.5),
      "-": () => zoom(2),
      ArrowLeft: () => (shiftKey ? step(-0.02) : pan(-view.span / 4)),
      ArrowRight: () => (shiftKey ? step(0.02) : pan(view.span / 4)),
      End: () => move(null),
      Escape: () => point(NaN),
    }[key];
    if (!does) return;
    event.preventDefault();
    does();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, shareAt(event));
    },
    { passive: false },
  );
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons === 1) pan((-event.movementX * view.span) / seenWidth());
    else point(shareAt(event));
  });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    point(shareAt(event));
  });
  canvas.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && point(NaN));
  canvas.addEventListener("dblclick", () => move(null));

  /** The curves with their names, on the page's own ground. */
  function savePicture() {
    describe();
    const scale = canvas.width / (canvas.clientWidth / textScale());
    const names = Math.ceil(26 * scale);
    const picture = make("canvas", { width: canvas.width, height: canvas.height + names });
    const context = picture.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    context.fillStyle = style.getPropertyValue("--card");
    context.fillRect(0, 0, picture.width, picture.height);
    context.drawImage(canvas, 0, 0);
    if (!glass.hidden) context.drawImage(glass, 0, 0);
    context.font = `${13 * scale}px system-ui, sans-serif`;
    let left = LEFT * scale;
    for (const { title, colour } of series.filter(({ shown }) => shown)) {
      context.fillStyle = style.getPropertyValue(colour);
      context.fillText(title, left, canvas.height + names / 2);
      left += context.measureText(title).width + 18 * scale;
    }
    picture.toBlob((blob) => save(blob, `${names[0]}.png`));
  }

  /** Time goes on, whether something changes or not: a new picture for each pixel that it takes. */
  function live() {
    const pixel = (view.span * 1000) / Math.max(1, canvas.clientWidth);
    if (view.end === null) refresh();
    setTimeout(live, document.hidden ? 1000 : Math.min(TELL, Math.max(QUICKEST, pixel)));
  }

  move(null);
  recall().then(refresh);
  addEventListener("resize", refresh);
  live();
  return card.element;
}

function button(text, label, act) {
  const made = make("button", { type: "button", "aria-label": label, title: label }, text);
  made.addEventListener("click", act);
  return made;
}

/** The drawing of an empty canvas that is as large as what is `seen`, in pixels of 1/16 rem. */
function cleared(canvas, { width, height }) {
  const scale = devicePixelRatio * textScale();
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) {
    [canvas.width, canvas.height] = [wide, high];
    canvas.style.height = `${height / 16}rem`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** A line for each device: whether it is drawn, its value, and what is seen of it in numbers. */
function makeTable(series, labelId, changed) {
  const heads = ["", words.value, words.min, words.max, words.mean];
  const rows = series.map((each) => {
    const dot = make("span", { className: "dot", "aria-hidden": "true" });
    dot.style.setProperty("--colour", `var(${each.colour})`);
    const toggle = make("button", { type: "button", "aria-pressed": "true" }, dot, each.title);
    toggle.addEventListener("click", () => {
      each.shown = !each.shown;
      toggle.setAttribute("aria-pressed", String(each.shown));
      changed();
    });
    const cells = heads.slice(1).map(() => make("td", {}));
    return { each, cells, element: make("tr", {}, make("th", { scope: "row" }, toggle), ...cells) };
  });
  const head = make("thead", {}, make("tr", {}, ...heads.map((text) => make(text ? "th" : "td", text ? { scope: "col" } : {}, text))));
  const table = make("table", { className: "legend", "aria-labelledby": labelId }, head, make("tbody", {}, ...rows.map(({ element }) => element)));

  /** Write the values of a time, null for now; a text for each. */
  function update(at) {
    return rows.map(({ each, cells }) => {
      const { name, title, seen = {}, shown } = each;
      const value = asWords(each, at === null ? current(name) : valueAt(name, at));
      const texts = [value, ...["min", "max", "mean"].map((what) => (shown ? asFigure(each, what, seen[what]) : ""))];
      texts.forEach((text, i) => cells[i].textContent !== text && (cells[i].textContent = text));
      return `${title}: ${value}`;
    });
  }
  return { element: make("div", { className: "figures" }, table), update };
}

/** What a device shows now, where that is known. */
function current(name) {
  const { state } = board.devices[name];
  return state.stale || !board.online ? null : state.value;
}

function asWords({ device, isSwitch }, value) {
  if (Number.isNaN(value)) return words["no-value"];
  if (typeof value !== "number") return asText(value, device);
  return isSwitch ? asText(Boolean(value), device) : asNumber(value, device);
}

/** The mean of what is on or off is how much of the time it is on; its extremes say nothing. */
function asFigure({ device, isSwitch }, what, value) {
  if (!Number.isFinite(value) || (isSwitch && what !== "mean")) return "";
  return isSwitch || isShare(device) ? asPercent(value) : asDecimal(value, device);
}

/** All that is known, in the format of the lab's recordings: a line for each moment of a change. */
function asCsv(series) {
  const past = series.map(({ name }) => history(name));
  const times = [...new Set(past.flatMap((each) => each.times))].sort((a, b) => a - b);
  const at = past.map(() => -1);
  const rows = times.map((time) => {
    const values = past.map((each, i) => {
      while (each.times[at[i] + 1] <= time) at[i]++;
      return each.values[at[i]] ?? NaN;
    });
    const when = new Date((time + wall()) * 1000).toISOString().replace("Z", "+00:00");
    const valid = values.map((value) => Number(Number.isFinite(value)));
    return [(time - times[0]).toFixed(3), when, ...values.map((value, i) => (valid[i] ? value : "")), ...valid].join(",");
  });
  const names = series.map(({ name }) => name);
  const head = ["seconds", "time", ...names, ...names.map((name) => `${name}_valid`)];
  return new Blob([[head.join(","), ...rows, ""].join("\r\n")], { type: "text/csv" });
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
