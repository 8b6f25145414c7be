// What a student sets: switches, push buttons, sliders.

import { asNumber, asText, board, make, words } from "./panel.js";
import { register } from "./widgets.js";

register("switch", drawSwitch);
register("button", drawButton);
register("slider", drawSlider);

function drawSwitch(device, card) {
  const { name } = device;
  const state = make("span", { className: "state", "aria-hidden": "true", id: `state-${name}` });
  const button = make("button", { type: "button", className: "toggle", role: "switch" });
  // A screen reader says "on" by itself: the lab's own word for it belongs to the name.
  button.setAttribute("aria-labelledby", device.words ? `${card.labelId} ${state.id}` : card.labelId);
  card.guard(button, () => Boolean(board.expected(name).value)); // off is always possible
  button.addEventListener("click", () => card.put(!board.expected(name).value));
  card.head.append(state, button);
  return ({ value }) => {
    state.textContent = asText(value, device);
    button.setAttribute("aria-checked", String(Boolean(value)));
  };
}

function drawButton(device, card) {
  const { name } = device;
  const state = make("span", { className: "state" });
  const id = `press-${name}`;
  const button = make("button", { type: "button", className: "push", id }, words.press);
  button.setAttribute("aria-labelledby", `${id} ${card.labelId}`);
  card.guard(button);
  pressable(button, device, card);
  card.head.append(state, button);
  return ({ value }) => {
    state.textContent = asText(value, device);
    button.classList.toggle("pressed", Boolean(value));
  };
}

/** A button whose device is on while it is held down; where the device itself ends its pulse, a click begins one. */
export function pressable(button, device, card) {
  const { name } = device;
  const press = device.commands?.some((command) => command.name === "press");
  if (press || device.pulse || device.confirm) {
    const pulse = () => board.command(name, press ? "press" : "set", press ? [] : [true]);
    button.addEventListener("click", () => card.act(pulse));
    return;
  }
  const put = (value) => card.act(() => board.command(name, "set", [value]));
  let held = null; // the promise of having been pressed
  const down = (event) => {
    if (held || (event.key && event.key !== " " && event.key !== "Enter")) return;
    // A finger holds what it touched first: without this nobody would see that it slides off.
    if (event.pointerId !== undefined) button.releasePointerCapture(event.pointerId);
    if (button.getAttribute("aria-disabled") !== "true") held = put(true);
  };
  const up = async () => {
    const pressed = held;
    held = null;
    if (pressed) await pressed.then(() => put(false));
  };
  for (const event of ["pointerdown", "keydown"]) button.addEventListener(event, down);
  for (const event of ["pointerup", "pointercancel", "pointerleave", "keyup", "blur"]) button.addEventListener(event, up);
  document.addEventListener("visibilitychange", () => document.hidden && up());
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch is no question
}

function drawSlider(device, card) {
  const output = make("output", { className: "state" });
  const range = makeRange(device, card, (text) => (output.textContent = text));
  card.head.append(output);
  card.element.append(range.input);
  return range.follow;
}

/** A slider of a device and how it follows; `show(text, value)` is called with where it is. */
export function makeRange(device, card, show) {
  const min = device.min ?? 0;
  const max = device.max ?? 1;
  const step = device.step ?? (max - min) / 100;
  const zero = min < 0 && max > 0 ? -min / (max - min) : 0; // where nothing is filled
  const input = make("input", { type: "range", min, max, step, "aria-labelledby": card.labelId });
  input.classList.toggle("signed", zero > 0);
  input.style.setProperty("--zero", zero);
  card.guard(input);
  let held = false; // the student has a hand on it: it must not move away by itself

  function place(value) {
    const text = asNumber(value, { ...device, step });
    const share = Math.min(1, Math.max(0, (value - min) / (max - min)));
    input.setAttribute("aria-valuetext", text);
    input.style.setProperty("--from", zero > 0 ? Math.min(zero, share) : -1);
    input.style.setProperty("--to", Math.max(zero, share));
    show(text, value);
  }
  function follow({ value }) {
    if (held) return;
    input.value = value ?? min;
    if (value !== null) place(value);
    else show(asText(value), min);
  }
  function letGo() {
    held = false;
    follow(board.expected(device.name));
  }
  input.addEventListener("input", () => {
    held = true;
    place(input.valueAsNumber);
    if (!device.confirm) card.put(input.valueAsNumber);
  });
  input.addEventListener("change", () => {
    if (device.confirm) card.put(input.valueAsNumber);
    letGo();
  });
  for (const event of ["pointercancel", "blur"]) input.addEventListener(event, letGo);
  return { input, follow };
}
