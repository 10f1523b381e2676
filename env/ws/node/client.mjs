// A client of planegym.v1 for Node 22 and browsers, without dependencies: an
// environment whose steps are binary frames, read without a copy. Node 20 has
// WebSocket behind --experimental-websocket.
//
//   const env = await Env.make("ws://127.0.0.1:7070", "cartpole", { num_envs: 4 });
//   let { obs } = await env.reset({ seed: 7n });
//   ({ obs, reward, terminated, truncated } = await env.step([0, 1, 1, 0]));
//   await env.close();
//
// PROTOCOL.md, one folder up, has every byte.

const STEP = 1, RESET = 3, INFO = 2, RESYNC = 4, FINAL_OBS = 8, SEEDS = 16;

export class Env {
  static async make(url, scenario, options = {}) {
    const env = new Env();
    env.ws = new WebSocket(url.replace(/\/?$/, "").replace(/(:\d+)$/, "$1/v1/ws"), "planegym.v1");
    env.ws.binaryType = "arraybuffer";
    env.seq = 0; // number of the last request; replies come in the order of requests
    env.waiting = new Map();
    env.ws.onmessage = (m) => env.#receive(m.data);
    env.ws.onclose = (e) => env.#fail(new Error(`connection closed: ${e.code} ${e.reason}`));
    await new Promise((ok, bad) => { env.ws.onopen = ok; env.ws.onerror = () => bad(new Error(`no server at ${url}`)); });
    await env.#text({ type: "hello", id: 0, client: "planegym-node", version: 1, capabilities: [] });
    env.made = await env.#text({ type: "make", scenario, num_envs: 1, ...options });
    env.D = env.made.observation_space.shape[0];
    env.S = env.made.action_space.n.length;
    return env;
  }

  // reset begins an episode in every row; row i takes seed + i, without a seed the generator that it has.
  reset({ seed } = {}) {
    const n = this.made.num_envs;
    const seeds = seed === undefined ? [] : Array.from({ length: n }, (_, i) => BigInt.asUintN(64, BigInt(seed) + BigInt(i)));
    return this.#binary(RESET, RESYNC | (seeds.length ? SEEDS : 0), 8 * seeds.length, (view, at) => seeds.forEach((s, i) => view.setBigUint64(at + 8 * i, s, true)));
  }

  // step takes num_envs × S actions, row by row.
  step(actions) {
    return this.#binary(STEP, RESYNC, 4 * actions.length, (view, at) => actions.forEach((a, i) => view.setInt32(at + 4 * i, a, true)));
  }

  async close() {
    await this.#text({ type: "close" });
    this.ws.close();
  }

  #text(message) {
    const id = message.id ?? ++this.seq;
    return this.#send(id, JSON.stringify({ ...message, id, ack: Math.max(this.seq - 1, 0) }));
  }

  #binary(type, flags, length, body) {
    const view = new DataView(new ArrayBuffer(32 + length)); // header, ack, columns
    view.setUint8(0, 1);
    view.setUint8(1, type);
    view.setUint16(2, flags, true);
    view.setUint32(4, this.made.env, true);
    view.setUint32(8, this.made.num_envs, true);
    view.setBigUint64(16, BigInt(++this.seq), true);
    view.setBigUint64(24, BigInt(this.seq - 1), true);
    body(view, 32);
    return this.#send(this.seq, view.buffer);
  }

  #send(id, data) {
    return new Promise((ok, bad) => { this.waiting.set(id, { ok, bad }); this.ws.send(data); });
  }

  #receive(data) {
    const m = typeof data === "string" ? JSON.parse(data) : this.#result(data);
    const call = this.waiting.get(m.id);
    if (m.type === "event" || !call) return;
    this.waiting.delete(m.id);
    if (m.type === "error") call.bad(Object.assign(new Error(m.message), m));
    else call.ok(m);
  }

  #result(data) {
    const view = new DataView(data), flags = view.getUint16(2, true), n = view.getUint32(8, true), pad = (n + 3) & ~3;
    let at = 24;
    const floats = (k) => { const x = new Float32Array(data, at, k); at += 4 * k; return x; };
    const bytes = () => { const x = new Uint8Array(data, at, n); at += pad; return x; };
    const m = { id: Number(view.getBigUint64(16, true)), obs: floats(n * this.D), reward: floats(n), terminated: bytes(), truncated: bytes() };
    if (flags & FINAL_OBS) m.final_obs = floats(n * this.D);
    if (flags & INFO) m.info = floats(n * this.made.info_fields.length);
    return m;
  }

  #fail(error) {
    for (const { bad } of this.waiting.values()) bad(error);
    this.waiting.clear();
  }
}
