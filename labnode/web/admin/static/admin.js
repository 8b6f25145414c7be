/**
 * The administration's page: what changes on the node is shown without loading the page again.
 *
 * The server draws the page, and draws it again every two seconds while somebody can see it. The
 * parts that are marked data-live and differ are taken over; what a person types stays. Buttons
 * are plain forms, sent from here so that the page stays where it is.
 */

const EVERY = 2000; // ms
const PATIENCE = 10000;

const HERE = location.origin + location.pathname; // without a password that was typed into it

const said = document.getElementById("said");
let timer = 0;
let offline = false;

function tell(text, kind) {
  said.textContent = text;
  said.className = `notice ${kind}`;
  said.hidden = false;
}

function takeOver(next) {
  if (next.body.dataset.instance !== document.body.dataset.instance) {
    location.reload(); // another board, or a node that was started anew
    return;
  }
  for (const fresh of next.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    if (!old || old.innerHTML === fresh.innerHTML) continue;
    const focused = old.contains(document.activeElement) && document.activeElement.id;
    old.innerHTML = fresh.innerHTML;
    if (focused) document.getElementById(focused)?.focus();
  }
}

async function ask(url, options = {}) {
  return fetch(url, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
}

async function look() {
  clearTimeout(timer);
  try {
    const answer = await ask(HERE, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (offline) said.hidden = true;
    offline = false;
  } catch {
    offline = true;
    tell(document.body.dataset.offline, "warn");
  }
  clearTimeout(timer);
  if (document.visibilityState === "visible") timer = setTimeout(look, EVERY);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.visibilityState === "visible") look();
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  event.preventDefault();
  if (form.dataset.sure && !confirm(form.dataset.sure)) return;
  try {
    const answer = await ask(new URL(form.getAttribute("action"), HERE), {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
    });
    const reply = await answer.json();
    if (answer.ok && !reply.unsafe?.length) {
      const result = reply.result ?? null;
      const text = result === null ? document.body.dataset.done : JSON.stringify(result);
      tell(reply.message ?? text, reply.left?.length ? "warn" : "told");
    } else {
      tell(reply.message ?? reply.unsafe.join("; "), "bad");
    }
  } catch {
    tell(document.body.dataset.offline, "bad");
  }
  look();
});

timer = setTimeout(look, EVERY);
