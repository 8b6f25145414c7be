// The page of `labnode picture`: where devices are on the board's picture, and the YAML that says so.

const boot = await (await fetch("api/page")).json();
const block = document.createElement("script");
Object.assign(block, { type: "application/json", id: "boot", textContent: JSON.stringify(boot) });
document.body.append(block); // panel.js reads it
const { board, byId, make } = await import("./panel.js");
const { SIZES, drawSpot, place, useStyle } = await import("./picture.js");

const ASPECTS = { led: 1, push: 1, slide: 1.9, reading: 3, digits: 0.7 }; // of one digit
const STEP = 0.002; // of the picture, by an arrow key
const candidates = JSON.parse(byId("candidates").textContent);
const { width, height, devices } = board.description.picture;
const ground = document.querySelector(".ground");
const spots = document.querySelector(".spots");
const form = byId("chosen");
const { shape, size, rotate, color } = form.elements;
let chosen = null;

for (const each of candidates) {
  const known = devices.find((spot) => spot.device === each.device && spot.bit === each.bit);
  Object.assign(each, known ?? { shape: each.shapes[0] }, { placed: Boolean(known?.at) });
}

function draw(each) {
  erase(each);
  each.element = drawSpot(each).element;
  each.element.inert = true;
  each.handle = make("button", { type: "button", className: "handle", title: each.key, "aria-label": each.key });
  const digits = each.shape === "digits" && !each.segments ? (each.digits ?? 1) : 1;
  each.handle.style.aspectRatio = ASPECTS[each.shape] * digits;
  each.handle.addEventListener("focus", () => choose(each));
  each.handle.addEventListener("pointerdown", ({ pointerId }) => {
    each.handle.setPointerCapture(pointerId);
    each.handle.focus();
  });
  each.handle.addEventListener("pointermove", ({ buttons, clientX, clientY }) => {
    const box = ground.getBoundingClientRect();
    if (buttons) move(each, (clientX - box.left) / box.width, (clientY - box.top) / box.height);
  });
  each.handle.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Delete") takeOff(each);
    if (!way) return;
    event.preventDefault();
    const step = STEP * (event.shiftKey ? 10 : 1);
    move(each, each.at[0] + way[0] * step, each.at[1] + way[1] * step);
  });
  spots.append(each.element, each.handle);
  show(each);
}

function erase(each) {
  each.element?.remove();
  each.handle?.remove();
}

function show(each) {
  place(each.element, each);
  place(each.handle, each);
  write();
}

function move(each, x, y) {
  each.at = [x, y].map((share) => Math.min(1, Math.max(0, Math.round(share * 1e4) / 1e4)));
  show(each);
}

function choose(each) {
  chosen?.handle?.classList.remove("chosen");
  chosen = each;
  form.hidden = !each;
  if (!each) return;
  each.handle.classList.add("chosen");
  form.querySelector("h2").textContent = each.key;
  shape.replaceChildren(...each.shapes.map((name) => make("option", { value: name }, name)));
  shape.value = each.shape;
  size.value = each.size ?? SIZES[each.shape];
  rotate.value = each.rotate ?? 0;
  color.value = each.color ?? "";
}

function takeOff(each) {
  each.placed = false;
  erase(each);
  choose(null);
  offer();
  write();
}

function put(each) {
  each.placed = true;
  each.at ??= [0.5, 0.5];
  offer();
  draw(each);
  each.handle.focus();
}

/** What may still be put on the picture. */
function offer() {
  const rest = candidates.filter(({ placed }) => !placed);
  const buttons = rest.map((each) => {
    const button = make("button", { type: "button" }, each.key);
    button.addEventListener("click", () => put(each));
    return button;
  });
  byId("rest").replaceChildren(...(buttons.length ? buttons : [byId("rest").dataset.none]));
}

function write() {
  const lines = candidates.filter(({ placed }) => placed).map((each) => `    ${keyOf(each.key)}: {${optionsOf(each)}}`);
  byId("yaml").value = ["  devices:", ...lines, ""].join("\n");
}

function keyOf(key) {
  return /^[A-Za-z][\w.]*$/.test(key) ? key : JSON.stringify(key);
}

function optionsOf({ at, shape, size, rotate, color, segments, digits }) {
  const options = { at: `[${at.join(", ")}]`, shape, size, rotate: rotate || undefined };
  options.color = color?.startsWith("#") ? JSON.stringify(color) : color || undefined;
  if (shape === "digits") Object.assign(options, { segments: segments && `[${segments.join(", ")}]`, digits });
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return given.map(([key, value]) => `${key}: ${value}`).join(", ");
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  if (!form.reportValidity()) return;
  if (target === size) chosen.size = size.valueAsNumber;
  if (target === rotate) chosen.rotate = rotate.valueAsNumber || 0;
  if (target === color) chosen.color = color.value;
  if (target === shape) Object.assign(chosen, { shape: shape.value, size: undefined });
  draw(chosen);
  choose(chosen);
});
byId("remove").addEventListener("click", () => takeOff(chosen));
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("yaml").value);
  byId("copied").textContent = byId("copied").dataset.done;
});
board.on("over", () => location.reload());

useStyle();
ground.style.setProperty("--ratio", width / height);
for (const each of candidates) if (each.placed) draw(each);
offer();
write();
board.start();
