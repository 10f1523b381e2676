"use strict";
// The dashboard: counters of /v1/status twice a second, subtracted; samples of
// /v1/watch for the environment that is looked at.

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const every = 500, keep = 240, episodeKeep = 600;

function theme(name) {
  root.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "Light" : "Dark";
  localStorage.setItem("planegym-theme", name);
  for (const c of charts()) c.redraw();
}
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const colours = ["#2f7ed8", "#d9822b", "#3aa76d", "#b04fc4", "#c23b4a", "#7a7f87"];

// spread is the range of an axis: a line that stays where it is lies in the
// middle of a narrow band, not at the edge of 0 to 100.
const spread = (_, low, high) => {
  if (low === null || low === undefined) return [0, 1];
  const pad = high > low ? (high - low) * 0.08 : Math.max(Math.abs(low) * 0.1, 0.5);
  return [low - pad, high + pad];
};

// A chart of lines over x. uPlot takes its scales from the first data and
// keeps none from an empty one, so it is made when there are some.
class Lines {
  constructor(div, names, marks = false) { this.div = div; this.names = names; this.marks = marks; }
  width() { return Math.max(this.div.clientWidth, 200); }
  set(data) {
    data = data.map((d) => d.slice()); // uPlot keeps what it is given
    if (this.plot) { this.plot.setData(data); return; }
    const axis = { stroke: () => css("--dim"), grid: { stroke: () => css("--rule"), width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      width: this.width(), height: 170, scales: { x: { time: false }, y: { range: spread } }, axes: [{ ...axis, size: 30 }, { ...axis, size: 60 }], cursor: { points: { show: false } },
      legend: { show: this.names.length > 1, live: false },
      series: [{ label: "t" }, ...this.names.map((label, i) => ({ label, stroke: colours[i % colours.length], width: 1.5, points: { show: this.marks && i === 0 }, dash: this.marks && i > 0 ? [6, 4] : undefined }))],
    }, data, this.div);
    new ResizeObserver(() => this.plot.setSize({ width: this.width(), height: 170 })).observe(this.div);
  }
  redraw() { if (this.plot) this.plot.redraw(); }
}
const fixed = [];
let shown = []; // of the episode
let returns = null; // chart of returns
const charts = () => fixed.concat(shown.map((s) => s.chart), returns ? [returns] : []);

const number = (v) => v >= 1e6 ? (v / 1e6).toFixed(2) + " M" : v >= 1e4 ? (v / 1e3).toFixed(1) + " k" : v >= 100 ? v.toFixed(0) : v.toFixed(v < 10 && !Number.isInteger(v) ? 1 : 0);
const micros = (v) => v === null ? "–" : v >= 1000 ? (v / 1000).toFixed(1) + " ms" : v.toFixed(0) + " µs";

// The p-th percentile of counts by power of two, within a bucket by line.
function percentile(counts, p) {
  const total = counts.reduce((a, b) => a + b, 0);
  if (!total) return null;
  let left = total * p;
  for (let i = 0; i < counts.length; i++) {
    if (left <= counts[i]) {
      const low = i ? 2 ** (i - 1) : 0;
      return low + (2 ** i - low) * left / counts[i];
    }
    left -= counts[i];
  }
  return 2 ** counts.length;
}

let token = sessionStorage.getItem("planegym-token") || "";
async function ask(path) {
  const r = await fetch(path, token ? { headers: { Authorization: "Bearer " + token } } : {});
  if (r.status === 401) throw Object.assign(new Error("a token is wanted"), { login: true });
  if (!r.ok) throw Object.assign(new Error((await r.json()).message), { status: r.status });
  return r.json();
}

let before = null, started = performance.now();
const over = { t: [], rate: [], p50: [], p99: [] };
let looked = null; // {session, env, since, columns, samples}

function status(s) {
  const now = performance.now();
  $("server").textContent = s.server;
  $("state").textContent = s.draining ? "draining" : "live";
  $("state").classList.toggle("bad", s.draining);
  $("sessions").textContent = s.attached + (s.detached ? ` + ${s.detached} waiting` : "") + ` / ${s.max_sessions}`;
  $("rows").textContent = number(s.rows);
  $("episodes").textContent = number(s.episodes);
  $("errors").textContent = number(s.errors);
  if (before && s.requests >= before.s.requests) {
    const dt = (now - before.now) / 1000;
    const rate = (s.steps - before.s.steps) / dt;
    const counts = s.latency.map((v, i) => v - before.s.latency[i]);
    const p50 = percentile(counts, 0.5), p99 = percentile(counts, 0.99);
    $("rate").textContent = number(rate);
    $("requests").textContent = number((s.requests - before.s.requests) / dt);
    $("p50").textContent = micros(p50);
    $("p99").textContent = micros(p99);
    for (const [k, v] of [["t", (now - started) / 1000], ["rate", rate], ["p50", p50], ["p99", p99]]) {
      over[k].push(v);
      if (over[k].length > keep) over[k].shift();
    }
    if (s.steps > 0) {
      $("server-charts").hidden = false;
      fixed[0].set([over.t, over.rate]);
      fixed[1].set([over.t, over.p50, over.p99]);
    }
  }
  before = { now, s };
  list(s.sessions);
}

const cell = (text) => Object.assign(document.createElement("td"), { textContent: text });

// The table keeps its rows while sessions stay, so that focus does too.
let listed = "";
function list(sessions) {
  $("none").hidden = sessions.length > 0;
  $("sessions-table").hidden = sessions.length === 0;
  const key = JSON.stringify(sessions);
  if (key === listed) return;
  listed = key;
  const focus = document.activeElement && document.activeElement.dataset.key;
  $("list").replaceChildren(...sessions.map((s) => {
    const tr = document.createElement("tr");
    tr.append(cell(s.id.slice(0, 8)), cell(s.client), cell(s.remote), cell(s.attached ? "connected" : "waiting for its client"));
    const td = document.createElement("td");
    for (const e of s.envs || []) {
      const b = Object.assign(document.createElement("button"), { type: "button", textContent: `${e.env}: ${e.scenario} × ${e.num_envs}` });
      b.dataset.key = s.id + "/" + e.env;
      b.setAttribute("aria-pressed", String(!!looked && looked.session === s.id && looked.env === e.env));
      b.onclick = () => look(s.id, e);
      td.append(b);
    }
    tr.append(td);
    return tr;
  }));
  if (focus) for (const b of $("list").querySelectorAll("button")) if (b.dataset.key === focus) b.focus();
}

function look(session, e) {
  looked = { session, env: e.env, scenario: e.scenario, since: 0, samples: [], columns: null, whole: false, sum: 0, returns: [] };
  shown = [];
  returns = null;
  for (const id of ["episode-charts", "more-charts", "chart-returns", "shares"]) $(id).replaceChildren();
  $("picture").hidden = true;
  $("no-returns").hidden = false;
  $("known").textContent = "";
  $("episode").hidden = false;
  $("waiting").hidden = false;
  $("row").max = e.num_envs - 1;
  $("row").value = Math.min($("row").value, e.num_envs - 1);
  $("episode-title").textContent = `Episode: ${e.scenario}, environment ${e.env} of ${session.slice(0, 8)}`;
  const card = { scenario: e.scenario, rows: e.num_envs, autoreset: e.autoreset, "model hash": e.model_hash || "no model", ...(e.card || {}) };
  $("card").replaceChildren(...Object.entries(card).map(([k, v]) => {
    const tr = document.createElement("tr");
    tr.append(Object.assign(document.createElement("th"), { scope: "row", textContent: k }), cell(v));
    return tr;
  }));
  for (const b of $("list").querySelectorAll("button")) b.setAttribute("aria-pressed", String(b.dataset.key === session + "/" + e.env));
}

// group puts the columns of one title into one chart, a switch a line. What
// the infos say in units, the observations need not repeat scaled.
function group(columns) {
  const groups = new Map();
  const told = new Set(columns.filter((c) => c.group === "info").map((c) => c.name));
  columns.forEach((c, i) => {
    if (c.group !== "info" && (told.has(c.name) || (c.name.startsWith("action") && told.has(c.name.replace("action", "limit"))))) return;
    if (!groups.has(c.title)) groups.set(c.title, { title: c.title, more: c.group === "observation" && told.size > 0, of: [], names: [] });
    const g = groups.get(c.title);
    if (g.names.includes(c.line)) return; // the action in force, observed as well
    g.of.push(i);
    g.names.push(c.line);
  });
  const order = ["Reward", "Buffer", "Queue depth", "Queue limit", "Quality", "Frame", "Stalled", "Time in"];
  const first = (g) => { const k = order.findIndex((w) => g.title.startsWith(w)); return k < 0 ? order.length : k; };
  return [...groups.values()].sort((a, b) => first(a) - first(b));
}

// episodes adds up rewards from the first end that was seen on: the episode
// that was under way when watching began is not whole.
function episodes(samples, ends) {
  samples.forEach((s, i) => {
    looked.sum += s[0];
    if (!ends[i]) return;
    if (looked.whole) looked.returns.push(looked.sum);
    looked.whole = true;
    looked.sum = 0;
  });
  if (!looked.returns.length) return;
  $("no-returns").hidden = true;
  const all = looked.returns.slice(-keep), best = known(looked.scenario);
  if (!returns) {
    $("known").textContent = best.length ? "; dashed: " + best.map((b) => `${b.policy} ${b.return.toFixed(0)}`).join(", ") : "";
    returns = new Lines($("chart-returns"), ["return", ...best.map((b) => b.policy)], true);
  }
  const from = looked.returns.length - all.length + 1;
  returns.set([all.map((_, i) => from + i), all, ...best.map((b) => all.map(() => b.return))]);
}

// known are measured returns to compare with: the best constant, and the best
// of the others.
function known(name) {
  const s = scenarios.find((s) => s.name === name);
  return (s && s.best) || [];
}

// share draws how often each action was taken of late, a row a switch.
function share(limits) {
  const at = looked.columns.map((c, i) => [c, i]).filter(([c]) => c.group === "action");
  const recent = looked.samples.slice(-200);
  $("shares").replaceChildren(...at.map(([c, i]) => {
    const counts = new Map();
    for (const s of recent) counts.set(s[1][i], (counts.get(s[1][i]) || 0) + 1);
    const row = document.createElement("div");
    row.className = "share";
    if (at.length > 1) row.append(Object.assign(document.createElement("span"), { className: "who", textContent: c.line }));
    for (const [a, n] of [...counts].sort((x, y) => x[0] - y[0])) {
      const bar = document.createElement("span"), percent = Math.round(100 * n / recent.length);
      bar.className = "bar a" + a % 6;
      bar.style.flexGrow = n;
      bar.textContent = `${limits && limits.length ? limits[a] + " packets" : "action " + a}: ${percent} %`;
      row.append(bar);
    }
    return row;
  }));
}

async function watch() {
  if (!looked) return;
  const mine = looked;
  let w;
  try {
    w = await ask(`/v1/watch?session=${mine.session}&env=${mine.env}&row=${$("row").value || 0}&since=${mine.since}`);
  } catch (e) {
    if (e.status === 404) { $("waiting").hidden = false; $("waiting").textContent = "it has ended"; looked = null; return; }
    throw e;
  }
  if (mine !== looked) return;
  if (!mine.columns) {
    mine.columns = w.columns;
    shown = group(w.columns).map((g) => {
      const figure = document.createElement("figure"), div = document.createElement("div");
      figure.append(Object.assign(document.createElement("figcaption"), { textContent: g.title }), div);
      $(g.more ? "more-charts" : "episode-charts").append(figure);
      return { ...g, chart: new Lines(div, g.names) };
    });
  }
  if (w.first > mine.since && mine.samples.length) { mine.samples = []; mine.whole = false; mine.sum = 0; } // too many came, or another row's
  w.samples.forEach((s, i) => mine.samples.push([w.first + i, s, w.ends[i]]));
  mine.samples.splice(0, mine.samples.length - episodeKeep);
  mine.since = w.next;
  if (!w.samples.length) return;
  $("waiting").hidden = true;
  const x = mine.samples.map((s) => s[0]);
  for (const g of shown) g.chart.set([x, ...g.of.map((c) => mine.samples.map((s) => s[1][c]))]);
  episodes(w.samples, w.ends);
  share(w.limits);
  if (w.picture) {
    $("picture").hidden = false;
    $("picture").innerHTML = w.picture; // drawn by the server, from numbers
  }
}

// How to step this very server, and the scenarios that it has.
let scenarios = [];
const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/ws`;
async function start() {
  scenarios = (await ask("/v1/scenarios")) || [];
  const name = scenarios.length ? (scenarios.find((s) => s.default) || scenarios[0]).name : "cartpole";
  $("python").textContent = `import planegym

env = planegym.make("${url}", "${name}")
obs, info = env.reset(seed=7)
for _ in range(900):
    action = env.action_space.sample()
    obs, reward, terminated, truncated, info = env.step(action)`;
  $("go").textContent = `c, err := ws.Dial(ctx, "${url}", ws.DialOptions{
	Scenario: "${name}"})
...
var b env.Batch
err = c.Reset(ctx, nil, []uint64{7}, &b)
err = c.Step(ctx, nil, []int32{0}, &b) // b.Obs, b.Reward, …`;
  $("scenarios").hidden = !scenarios.length;
  $("scenario-list").replaceChildren(...scenarios.map((s) => {
    const tr = document.createElement("tr"), td = document.createElement("td");
    const b = Object.assign(document.createElement("button"), { type: "button", textContent: s.name });
    b.onclick = () => openPage(s.name);
    td.append(b);
    tr.append(td, cell(s.description));
    return tr;
  }));
}

async function openPage(name) {
  const page = $("page");
  page.hidden = false;
  page.textContent = "opening " + name + " …";
  try {
    page.innerHTML = (await ask("/v1/scenarios/" + encodeURIComponent(name))).html; // made by the server
    for (const code of page.querySelectorAll("pre code")) code.textContent = code.textContent.replace("ws://127.0.0.1:7070/v1/ws", url);
  } catch (e) {
    page.textContent = e.message;
  }
  page.focus();
}

let begun = false;
async function tick() {
  try {
    if (!begun) { await start(); begun = true; }
    status(await ask("/v1/status"));
    await watch();
    $("login").hidden = true;
  } catch (e) {
    before = null;
    $("state").textContent = e.login ? "a token is wanted" : "the server does not answer";
    $("state").classList.add("bad");
    if (e.login) {
      $("login").hidden = false;
      $("refused").textContent = token ? "That one is not accepted." : "";
      return; // until it is given
    }
  }
  setTimeout(tick, every);
}

$("login").onsubmit = (e) => {
  e.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("planegym-token", token);
  tick();
};
$("row").onchange = () => { if (looked) { looked.samples = []; looked.since = 0; looked.returns = []; looked.whole = false; looked.sum = 0; $("waiting").hidden = false; } };
$("theme").onclick = () => theme(root.dataset.theme === "dark" ? "light" : "dark");
fixed.push(new Lines($("chart-rate"), ["steps/s"]), new Lines($("chart-latency"), ["p50", "p99"]));
theme(localStorage.getItem("planegym-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
tick();
