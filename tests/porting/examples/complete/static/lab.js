"use strict";
const get = (id) => document.getElementById(id);
const panel = get("panel");
const socket = new WebSocket(new URL("mylab", location.href.replace(/^http/, "ws")));
const ask = (message) => socket.send(JSON.stringify(message));

const events = {
  "board-status": ({ lights, microcontroller, time_left }) => {
    for (const button of document.querySelectorAll("[data-light]")) {
      button.setAttribute("aria-pressed", lights[`light-${button.dataset.light}`]);
    }
    get("microcontroller").textContent = microcontroller;
    get("timer").textContent = Math.round(time_left);
  },
  error: ({ message }) => (get("error").textContent = message),
};
socket.onmessage = ({ data }) => {
  const { event, data: told } = JSON.parse(data);
  events[event](told);
};

function clean() {
  panel.hidden = true;
  get("timer").textContent = panel.dataset.over;
}

panel.onclick = ({ target: { dataset, ariaPressed } }) => {
  if (dataset.light) ask({ event: "lights", number: dataset.light, state: ariaPressed === "false" });
  if (dataset.code) ask({ event: "program", code: dataset.code });
};
get("leave").onclick = () => fetch("logout", { method: "POST" }).then(clean);
