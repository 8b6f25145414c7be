/**
 * A serial device of the board, to talk to:
 *
 *     const port = await board.serial("console");
 *     port.on("text", (text) => console.log(text));
 *     port.send("led on\n");
 *
 * Events:
 *     data (bytes)        a Uint8Array that the device has said
 *     text (text)         the same in the port's encoding
 *     status (status)     {connected, lent, error, baudrate} has changed
 *     dropped (number)    so many bytes are missing here: this page was too slow
 *     restart ()          what comes now does not follow what came before: the lab was restarted
 *     refused (message)   what was sent was not taken, and why
 *     closed ()           the session is over
 *
 * It connects again by itself, and misses nothing that the lab still has.
 */

import { sleep } from "./sleep.js";

const TRY_AGAIN = 1000; // milliseconds after the connection was lost
const PIECE = 4096; // bytes of a file that are sent at once
const UNSENT = 32768; // … that the device may not have taken yet
const OVER = 4001; // the code of a WebSocket whose session is over

/** The port of a device, as soon as it is known how it is. */
export async function connect(board, name) {
  const port = new SerialConsole(board, name);
  await port.ready;
  return port;
}

export class SerialConsole {
  #board;
  #name;
  #socket = null;
  #handlers = new Map();
  #decoder;
  #epoch = null;
  #offset = null; // of the next byte that comes
  #closed = false;
  #sent = 0; // bytes given to this connection
  #taken = 0; // … that the device has got, or that were lost
  #lost = 0;
  #room = () => {}; // ends the wait of a file for room

  constructor(board, name) {
    const { encoding } = board.devices[name].description;
    this.#board = board;
    this.#name = name;
    this.#decoder = newDecoder(encoding);
    this.status = { connected: false, lent: false, error: null, baudrate: null };
    this.readOnly = false;
    this.ready = new Promise((resolve) => {
      this.on("status", resolve);
      this.on("closed", resolve);
    });
    board.on("over", () => this.close());
    this.#run();
  }

  /** Call `handler` at every `event`; the answer takes it away again. */
  on(event, handler) {
    if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
    this.#handlers.get(event).add(handler);
    return () => this.#handlers.get(event).delete(handler);
  }

  /** Send a text, in the port's encoding; what ends a line is part of it. False: not connected. */
  send(text) {
    return this.#give(JSON.stringify({ text, deadline: this.#board.deadline() }));
  }

  /** Send bytes as they are. */
  sendBytes(bytes) {
    this.#sent += bytes.byteLength;
    return this.#give(bytes);
  }

  /**
   * Send a file (or a Blob), as fast as the device takes it; `progress` is called with the share
   * that it has got. Ends with true, or with false when `signal` aborts it or the port goes.
   */
  async sendFile(file, progress = () => {}, signal = null) {
    const socket = this.#socket;
    const before = this.#lost;
    const begin = this.#sent;
    const goes = () => socket === this.#socket && this.#lost === before && !signal?.aborted;
    const wait = () => sleep(1000, (wake) => (this.#room = wake));
    signal?.addEventListener("abort", () => this.#room());
    for (let at = 0; at < file.size && goes(); at += PIECE) {
      const piece = await file.slice(at, at + PIECE).arrayBuffer();
      while (goes() && this.#sent - this.#taken > UNSENT) {
        await wait();
        progress((this.#taken - begin) / file.size);
      }
      if (!goes() || !this.sendBytes(piece)) return false;
      progress(Math.max(0, this.#taken - begin) / file.size);
    }
    while (goes() && this.#taken < this.#sent) await wait();
    if (goes()) progress(1);
    return goes();
  }

  setBaudrate(baudrate) {
    return this.#board.command(this.#name, "set_baudrate", [baudrate]);
  }

  sendBreak() {
    return this.#board.command(this.#name, "send_break");
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }

  async #run() {
    while (!this.#closed) {
      const code = await this.#listen();
      this.#room();
      if (code === OVER) this.#closed = true;
      if (this.#closed) break;
      this.#tell({ ...this.status, connected: false });
      await sleep(TRY_AGAIN);
    }
    this.#emit("closed");
  }

  /** Be connected until the WebSocket closes; its code. */
  #listen() {
    const path = `api/devices/${encodeURIComponent(this.#name)}/console`;
    const url = new URL(this.#board.url(path), document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const place = this.#epoch ? { epoch: this.#epoch, offset: this.#offset } : {};
    for (const [name, value] of Object.entries(place)) url.searchParams.set(name, value);
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.#hear(JSON.parse(data));
      else this.#receive(new Uint8Array(data));
    };
    this.#socket = socket;
    return new Promise((resolve) => {
      socket.onclose = ({ code }) => {
        this.#socket = null;
        resolve(code);
      };
    });
  }

  #receive(bytes) {
    this.#offset += bytes.length;
    this.#emit("data", bytes);
    this.#emit("text", this.#decoder.decode(bytes, { stream: true }));
  }

  #hear({ type, bytes, lost, message, epoch, offset, read_only, ...status }) {
    if (type === "hello") {
      if (this.#epoch && (epoch !== this.#epoch || offset !== this.#offset)) this.#emit("restart");
      this.#epoch = epoch;
      this.#offset = offset;
      this.#sent = this.#taken = this.#lost = 0;
      this.readOnly = read_only;
    }
    if (type === "hello" || type === "status") this.#tell(status);
    if (type === "dropped") {
      this.#offset += bytes;
      this.#emit("dropped", bytes);
    }
    if (type === "sent") {
      this.#taken = bytes + lost;
      this.#lost = lost;
      this.#room();
    }
    if (type === "refused") this.#emit("refused", message);
  }

  #tell(status) {
    this.status = status;
    this.#emit("status", status);
  }

  #give(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(message);
    return true;
  }

  #emit(event, ...details) {
    for (const handler of this.#handlers.get(event) ?? []) handler(...details);
  }
}

function newDecoder(encoding) {
  try {
    return new TextDecoder(encoding);
  } catch {
    return new TextDecoder("latin1"); // one that only Python knows: at least letters are letters
  }
}
