// What a student sets: switches, sliders.

import { asNumber, asText, board, make } from "./panel.js";
import { sleep } from "./sleep.js";
import { register } from "./widgets.js";

register("switch", drawSwitch);
register("slider", drawSlider);

function drawSwitch(device, card) {
  const state = make("span", { className: "state", "aria-hidden": "true" });
  const button = make("button", {
    type: "button",
    className: "toggle",
    role: "switch",
    "aria-labelledby": card.labelId,
  });
  button.addEventListener("click", () =>
    card.act(() => board.command(device.name, "set", [!board.devices[device.name].value])),
  );
  card.head.append(state, button);
  return ({ value }) => {
    state.textContent = asText(value);
    button.setAttribute("aria-checked", String(Boolean(value)));
  };
}

function drawSlider(device, card) {
  const min = device.min ?? 0;
  const max = device.max ?? 1;
  const step = device.step ?? (max - min) / 100;
  const output = make("output", { className: "state" });
  const input = make("input", { type: "range", min, max, step, "aria-labelledby": card.labelId });
  let wanted = null; // the newest position that is not sent yet
  let sending = false;
  let held = false; // the student has a hand on it: it must not move away by itself

  function show(value) {
    const text = asNumber(value, device, step);
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
    input.style.setProperty("--share", Math.max(0, (value - min) / (max - min)));
  }
  function follow({ value }) {
    if (held || sending) return;
    input.value = value ?? min;
    show(value ?? min);
  }
  async function send() {
    wanted = input.valueAsNumber;
    if (sending) return; // the loop below takes it along
    sending = true;
    await card.act(async () => {
      while (wanted !== null) {
        const value = wanted;
        wanted = null;
        await board.command(device.name, "set", [value]);
        await sleep(40);
      }
    });
    wanted = null;
    sending = false;
    follow(board.devices[device.name].state);
  }
  function letGo() {
    held = false;
    follow(board.devices[device.name].state);
  }
  input.addEventListener("input", () => {
    held = true;
    show(input.valueAsNumber);
    if (!device.confirm) send();
  });
  input.addEventListener("change", () => {
    if (device.confirm) send();
    letGo();
  });
  for (const event of ["pointercancel", "blur"]) input.addEventListener(event, letGo);
  card.head.append(output);
  card.element.append(input);
  return follow;
}
