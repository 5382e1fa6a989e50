// The way to the server: a WebSocket for the walk, and HTTP for files.

const PROTOCOL = "ctxmem.1";

export class Link {
  // `heard` gets {type: "welcome" | "error" | "retrieval" | "frame" | "closed", ...}, of a frame with its `pictures`.
  constructor(token, heard) {
    this.token = token;
    this.heard = heard;
    this.visit = null;
    const url = new URL("api/walk", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    this.socket = new WebSocket(url, token ? [PROTOCOL, `token.${token}`] : [PROTOCOL]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (event) => this.#take(event.data);
    this.socket.onclose = (event) => heard({ type: "closed", reason: event.reason });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  async ask(path, options = {}) {
    const headers = { "X-Visit": this.visit ?? "" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const response = await fetch(path, { ...options, headers });
    if (!response.ok) throw new Error((await response.json()).error);
    return response;
  }

  #take(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "welcome") this.visit = message.visit;
      this.heard(message);
      return;
    }
    const length = new DataView(data).getUint32(0);
    const message = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    message.pictures = {};
    let at = 4 + length;
    for (const [name, size] of message.parts) {
      message.pictures[name] = createImageBitmap(new Blob([new Uint8Array(data, at, size)]));
      at += size;
    }
    this.heard(message);
  }
}

// Whether the server lets us in: true, or false where it wants another token.
export async function knock(token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return (await fetch("api/offer", { headers })).status !== 401;
}

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
