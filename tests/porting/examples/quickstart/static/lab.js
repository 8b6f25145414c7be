"use strict";
const buttons = document.querySelectorAll("[data-light]");

async function show(url, options) {
  const { lights, time_left } = await (await fetch(url, options)).json();
  for (const button of buttons) {
    button.setAttribute("aria-pressed", lights[`light-${button.dataset.light}`]);
  }
  if (time_left !== undefined) document.querySelector("#timer").textContent = Math.round(time_left);
}

for (const button of buttons) {
  button.onclick = () => {
    const url = LIGHT_URL.replace("LIGHT", button.dataset.light);
    const turnOn = button.getAttribute("aria-pressed") === "false";
    show(`${url}?state=${turnOn}`, { method: "POST" });
  };
}
show(STATUS_URL);
