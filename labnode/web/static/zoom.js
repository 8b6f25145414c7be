// A closer look at a picture: by two fingers, the wheel with Ctrl, keys, or buttons.

const MOST = 8;

/** Have `frame` show `content` closer: `by(factor)` of its middle, and `reset()`; each calls `changed(scale)`. */
export function makeZoom(frame, content, changed = () => {}) {
  let [scale, left, top] = [1, 0, 0];
  const fingers = new Map(); // pointer id -> its place

  function place() {
    const { clientWidth: width, clientHeight: height } = frame;
    left = Math.min(0, Math.max(width * (1 - scale), left));
    top = Math.min(0, Math.max(height * (1 - scale), top));
    content.style.transformOrigin = "0 0";
    content.style.transform = scale === 1 ? "" : `translate(${left}px, ${top}px) scale(${scale})`;
    frame.style.touchAction = scale === 1 ? "" : "none"; // one finger moves it then
    changed(scale);
  }
  /** Zoom by a factor; what is at (x, y) of the frame stays there. */
  function by(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
    const next = Math.min(MOST, Math.max(1, scale * factor));
    left = x - ((x - left) * next) / scale;
    top = y - ((y - top) * next) / scale;
    scale = next;
    place();
  }
  function move(x, y) {
    left += x;
    top += y;
    place();
  }
  function reset() {
    by(1 / scale);
  }
  const at = ({ clientX, clientY }) => {
    const box = frame.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  };
  /** The middle between the fingers, and how far apart they are. */
  function spread() {
    const [one, other = one] = [...fingers.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, wide: Math.hypot(one.x - other.x, one.y - other.y) };
  }

  frame.addEventListener("pointerdown", (event) => fingers.set(event.pointerId, at(event)));
  frame.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = spread();
    fingers.set(event.pointerId, at(event));
    const now = spread();
    if (fingers.size > 1 && before.wide > 0) by(now.wide / before.wide, before.x, before.y);
    if (scale > 1) move(now.x - before.x, now.y - before.y);
  });
  for (const event of ["pointerup", "pointercancel", "pointerleave"]) {
    frame.addEventListener(event, ({ pointerId }) => fingers.delete(pointerId));
  }
  // Else the browser takes two fingers for its own zoom, of all of the page.
  frame.addEventListener("touchstart", (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
  frame.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      const { x, y } = at(event);
      by(event.deltaY > 0 ? 0.8 : 1.25, x, y);
    },
    { passive: false },
  );
  frame.addEventListener("dblclick", (event) => (scale > 1 ? reset() : by(2, at(event).x, at(event).y)));
  frame.addEventListener("keydown", (event) => {
    const does = {
      "+": () => by(1.25),
      "-": () => by(0.8),
      0: reset,
      ArrowLeft: () => move(40, 0),
      ArrowRight: () => move(-40, 0),
      ArrowUp: () => move(0, 40),
      ArrowDown: () => move(0, -40),
    }[event.key];
    if (!does || (scale === 1 && event.key !== "+")) return; // the page scrolls
    event.preventDefault();
    does();
  });
  return { by, reset };
}
