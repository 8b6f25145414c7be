// What a student reads: lamps, values.

import { asNumber, asText, make } from "./panel.js";
import { register } from "./widgets.js";

register("lamp", drawLamp);
register("value", drawValue);

function drawLamp(device, card) {
  const state = make("span", { className: "state" });
  const led = make("span", { className: "led", "aria-hidden": "true" });
  card.head.append(state, led);
  return ({ value }) => {
    state.textContent = asText(value);
    led.dataset.lit = value === null ? "unknown" : String(Boolean(value));
  };
}

function drawValue(device, card) {
  const state = make("span", { className: "state reading" });
  card.head.append(state);
  return ({ value }) => {
    state.textContent = typeof value === "number" ? asNumber(value, device) : asText(value);
  };
}
