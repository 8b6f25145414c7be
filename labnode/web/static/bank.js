// A bank of bits: each as a switch or a lamp, and all of them as one number.

import { asText, board, fill, make, words } from "./panel.js";
import { register } from "./widgets.js";
import { hasBit } from "./wishes.js";

register("bank", drawBank);

function drawBank(device, card) {
  const { name } = device;
  const width = device.width ?? device.bits?.length ?? 8;
  const settable = device.commands?.some((command) => command.name === "set");
  const number = make("output", { className: "state" });
  card.head.append(number);
  const now = () => board.expected(name).value ?? 0;

  const bits = Array.from({ length: width }, (_, i) => {
    const bit = width - 1 - i;
    const label = device.bits?.[bit] ?? fill(words.bit, { n: bit });
    const mark = make("span", { className: "bit-name", "aria-hidden": "true" }, device.bits?.[bit] ?? String(bit));
    const control = settable
      ? make("button", { type: "button", className: "bit", role: "switch", "aria-label": label }, mark)
      : make("span", { className: "bit", role: "img", "aria-label": label }, mark);
    control.title = label;
    if (settable) {
      card.guard(control, () => hasBit(now(), bit));
      control.addEventListener("click", () => card.put(!hasBit(now(), bit), bit));
    }
    return { bit, control, label };
  });
  const group = make("div", { className: "bits", role: "group", "aria-labelledby": card.labelId });
  group.style.setProperty("--columns", Math.min(8, width));
  const longest = Math.max(0, ...(device.bits ?? []).map((name) => name.length));
  if (longest > 4) group.style.setProperty("--bit-width", `${Math.min(6, longest * 0.6)}rem`);
  group.append(...bits.map(({ control }) => control));
  card.element.append(group);

  if (settable) {
    const field = make("input", { type: "text", inputMode: "text", autocomplete: "off", spellcheck: false });
    field.setAttribute("aria-label", `${device.label || name}: ${words.number}`);
    field.placeholder = "0x2A · 0b101010 · 42";
    const send = make("button", {}, words.set);
    const form = make("form", { className: "line" }, card.guard(field), card.guard(send));
    form.noValidate = true;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = field.value.trim() === "" ? NaN : Number(field.value.trim());
      const fits = Number.isInteger(value) && value >= 0 && value < 2 ** width;
      card.tell(fits ? "" : fill(words["not-a-number"], { max: 2 ** width - 1 }));
      if (fits) card.put(value);
    });
    field.addEventListener("input", () => card.tell(""));
    card.element.append(form);
  }

  return ({ value }) => {
    const known = Number.isInteger(value);
    const hex = known && value.toString(16).toUpperCase().padStart(Math.ceil(width / 4), "0");
    number.textContent = known ? `${value} · 0x${hex}` : words["no-value"];
    for (const { bit, control, label } of bits) {
      const lit = known && hasBit(value, bit);
      control.dataset.lit = known ? String(lit) : "unknown";
      const text = `${label}: ${asText(known ? lit : null, device)}`;
      if (settable) control.setAttribute("aria-checked", String(lit));
      if (device.words) control.title = text;
      if (device.words || !settable) control.setAttribute("aria-label", text);
    }
  };
}
