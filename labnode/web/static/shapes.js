// What a student sets by its looks: colours, and angles on a dial.

import { makeRange } from "./controls.js";
import { asDecimal, draw, make, words } from "./panel.js";
import { register } from "./widgets.js";

register("rgb", drawColour);
register("dial", drawDial);

const PRESETS = ["#000000", "#ff0000", "#ffb000", "#00ff00", "#00c8ff", "#0000ff", "#c000ff", "#ffffff"];

function drawColour(device, card) {
  const state = make("output", { className: "state" });
  const picker = make("input", { type: "color", "aria-labelledby": card.labelId });
  card.guard(picker);
  picker.addEventListener("input", () => card.put(picker.value));
  const presets = PRESETS.map((hex) => {
    const label = hex === "#000000" ? words.off : hex;
    const button = make("button", { type: "button", className: "swatch", "aria-label": label });
    button.style.backgroundColor = hex;
    card.guard(button, () => hex === "#000000");
    button.addEventListener("click", () => card.put(hex));
    return button;
  });
  card.head.append(state, picker);
  card.element.append(make("p", { className: "swatches" }, ...presets));
  return ({ value }) => {
    const hex = value ?? "#000000";
    state.textContent = hex === "#000000" ? words.off : hex;
    picker.value = hex;
    presets.forEach((button, i) => button.setAttribute("aria-pressed", String(PRESETS[i] === hex)));
  };
}

const SWEEP = 240; // degrees from one end of the dial to the other
const RADIUS = 52;
const NUMBERS = 65; // the radius of the numbers around it
const [WIDTH, HEIGHT, TOP] = [172, 128, 78]; // of the face, and from there to its centre

function drawDial(device, card) {
  const min = device.min ?? -90;
  const max = device.max ?? 90;
  const needle = draw("g", { class: "needle" }, draw("path", { d: `M-3 6 L0 -${RADIUS - 12} L3 6 Z` }), draw("circle", { r: 6 }));
  const filled = draw("path", { class: "filled" });
  const face = draw(
    "svg",
    { class: "dial-face", viewBox: `${-WIDTH / 2} ${-TOP} ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    draw("path", { class: "rail", d: arc(0, 1) }),
    filled,
    ...[0, 0.25, 0.5, 0.75, 1].map((share) => tick(share, asDecimal(min + share * (max - min), {}, 2))),
    needle,
  );
  const output = make("output", { className: "state" });
  const range = makeRange(device, card, (text, value) => {
    const share = Math.min(1, Math.max(0, (value - min) / (max - min)));
    output.textContent = text;
    needle.setAttribute("transform", `rotate(${(share - 0.5) * SWEEP})`);
    const zero = min < 0 && max > 0 ? -min / (max - min) : 0;
    filled.setAttribute("d", arc(Math.min(zero, share), Math.max(zero, share)));
  });
  const turn = ({ clientX, clientY, buttons }) => {
    if (!buttons || range.input.disabled) return;
    const box = face.getBoundingClientRect();
    const x = clientX - box.left - box.width / 2;
    const y = clientY - box.top - (box.height * TOP) / HEIGHT;
    const angle = (Math.atan2(x, -y) * 180) / Math.PI;
    const share = Math.min(1, Math.max(0, angle / SWEEP + 0.5));
    range.input.value = min + share * (max - min);
    range.input.dispatchEvent(new Event("input"));
  };
  face.addEventListener("pointerdown", (event) => {
    face.setPointerCapture(event.pointerId);
    turn(event);
  });
  face.addEventListener("pointermove", turn);
  face.addEventListener("pointerup", () => range.input.dispatchEvent(new Event("change")));
  card.head.append(output);
  card.element.append(face, range.input);
  return range.follow;
}

function point(share, radius = RADIUS) {
  const angle = ((share - 0.5) * SWEEP * Math.PI) / 180;
  return `${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`;
}

function arc(from, to) {
  const large = (to - from) * SWEEP > 180 ? 1 : 0;
  return `M${point(from)} A${RADIUS} ${RADIUS} 0 ${large} 1 ${point(to)}`;
}

function tick(share, text) {
  const [x, y] = point(share, NUMBERS).split(" ");
  const number = draw("text", { x, y, dy: "0.35em" }, text);
  return draw("g", { class: "tick" }, draw("path", { d: `M${point(share, RADIUS - 9)} L${point(share, RADIUS - 5)}` }), number);
}
