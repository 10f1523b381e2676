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

// A chart of lines over x. uPlot takes its scales from the first data and
// keeps none from an empty one, so it is made when there are some.
class Lines {
  constructor(div, names) { this.div = div; this.names = names; }
  width() { return Math.max(this.div.clientWidth, 200); }
  set(data) {
    data = data.map((d) => d.slice()); // uPlot keeps what it is given
    if (this.plot) { this.plot.setData(data); return; }
    const axis = { stroke: () => css("--dim"), grid: { stroke: () => css("--rule"), width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      width: this.width(), height: 170, scales: { x: { time: false } }, axes: [{ ...axis, size: 30 }, { ...axis, size: 60 }], cursor: { points: { show: false } },
      legend: { show: this.names.length > 1, live: false },
      series: [{ label: "t" }, ...this.names.map((label, i) => ({ label, stroke: colours[i % colours.length], width: 1.5, points: { show: false } }))],
    }, data, this.div);
    new ResizeObserver(() => this.plot.setSize({ width: this.width(), height: 170 })).observe(this.div);
  }
  redraw() { if (this.plot) this.plot.redraw(); }
}
const fixed = [];
let shown = []; // of the episode
const charts = () => fixed.concat(shown.map((s) => s.chart));

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
    fixed[0].set([over.t, over.rate]);
    fixed[1].set([over.t, over.p50, over.p99]);
  }
  before = { now, s };
  list(s.sessions);
}

const cell = (text) => Object.assign(document.createElement("td"), { textContent: text });

// The table keeps its rows while sessions stay, so that focus does too.
let listed = "";
function list(sessions) {
  $("none").hidden = sessions.length > 0;
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
  looked = { session, env: e.env, since: 0, samples: [], columns: null };
  shown = [];
  $("episode-charts").replaceChildren();
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

// group puts columns that differ by a number alone into one chart: a switch a line.
function group(columns) {
  const groups = new Map();
  columns.forEach((c, i) => {
    const base = c.name.replace(/([a-z])[1-9](?=_|$)/, "$1");
    const key = base + "|" + c.unit;
    if (!groups.has(key)) groups.set(key, { title: base.replaceAll("_", " ") + (c.unit ? `, ${c.unit}` : ""), of: [], names: [] });
    groups.get(key).of.push(i);
    groups.get(key).names.push(c.name);
  });
  const first = (g) => ["reward", "lbo", "level", "fps", "qdepth", "depth", "limit", "action"].findIndex((w) => g.title.includes(w)) & 15;
  return [...groups.values()].sort((a, b) => first(a) - first(b));
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
      $("episode-charts").append(figure);
      return { ...g, chart: new Lines(div, g.names) };
    });
  }
  if (w.first > mine.since && mine.samples.length) mine.samples = []; // too many came, or another row's
  w.samples.forEach((s, i) => mine.samples.push([w.first + i, s, w.ends[i]]));
  mine.samples.splice(0, mine.samples.length - episodeKeep);
  mine.since = w.next;
  if (!w.samples.length) return;
  $("waiting").hidden = true;
  const x = mine.samples.map((s) => s[0]);
  for (const g of shown) g.chart.set([x, ...g.of.map((c) => mine.samples.map((s) => s[1][c]))]);
}

async function tick() {
  try {
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
$("row").onchange = () => { if (looked) { looked.samples = []; looked.since = 0; $("waiting").hidden = false; } };
$("theme").onclick = () => theme(root.dataset.theme === "dark" ? "light" : "dark");
fixed.push(new Lines($("chart-rate"), ["steps/s"]), new Lines($("chart-latency"), ["p50", "p99"]));
theme(localStorage.getItem("planegym-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
tick();
