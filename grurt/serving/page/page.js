// The page of grurt serve: what the service does, one session live, and samples to stream. Names of clients are
// only ever set as text.

import { Chart } from "/chart.js";
import { Streaming, parseCsv } from "/streaming.js";

const PAUSE = 1000; // milliseconds between two looks at the sessions
const at = (id) => document.getElementById(id);
const scheme = location.protocol === "https:" ? "wss:" : "ws:";

let token = sessionStorage.getItem("token") || "";
let models = [];
let replaced = new Set();
let previous = new Map();
let previousTime = 0;
let recordings = [];
let streaming = null;
let watching = null;

const inputs = new Chart(at("inputs"), at("input-legend"));
const outputs = new Chart(at("outputs"), at("output-legend"));

function text(tag, content, className = "") {
  const element = document.createElement(tag);
  element.textContent = content;
  element.className = className;
  return element;
}

async function get(path) {
  const response = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  at("token-form").hidden = response.status !== 401;
  if (!response.ok) throw new Error(response.status === 401 ? "a token is needed" : (await response.json()).error);
  return response.json();
}

function address(path, query) {
  const given = new URLSearchParams(token ? { ...query, token } : query);
  return `${scheme}//${location.host}${path}?${given}`;
}

function number(value) {
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

function bars(last) {
  const values = Object.values(last).flat().slice(0, 12);
  const most = Math.max(1e-12, ...values.map(Math.abs));
  const shown = text("span", "", "bars");
  shown.title = values.map((value) => (value === null ? "none" : value.toPrecision(3))).join("  ");
  for (const value of values) {
    const bar = text("i", "", value < 0 ? "negative" : "");
    bar.style.height = `${Math.round(100 * Math.abs(value ?? 0) / most)}%`;
    shown.append(bar);
  }
  return shown;
}

function cell(content, className = "", label = "") {
  const element = text("td", "", className);
  element.append(content);
  if (label) element.dataset.label = label;
  return element;
}

function sessionRow(session, rate) {
  const name = text("button", session.session.startsWith("~") ? "(no name)" : session.session);
  name.onclick = () => watch(session.model, session.session);
  const state = session.connected ? "connected" : `idle ${number(session.idle)} s`;
  const row = document.createElement("tr");
  row.append(cell(name), cell(session.model + version({ name: session.model, version: session.version })), cell(number(session.samples), "number", "samples"),
    cell(number(rate), "number", "a second"),
    cell(bars(session.last)), cell(session.waiting ? `${state}, ${session.waiting} waiting` : state));
  return row;
}

function showSessions(status, seconds) {
  const seen = new Map();
  at("session-rows").replaceChildren(...status.sessions.map((session) => {
    const key = `${session.model} ${session.session}`;
    seen.set(key, session.samples);
    const before = previous.get(key);
    return sessionRow(session, before === undefined || !seconds ? 0 : Math.max(0, session.samples - before) / seconds);
  }));
  at("no-sessions").hidden = status.n_sessions > 0;
  at("session-count").textContent = status.n_sessions > status.sessions.length
    ? `${number(status.n_sessions)}, those used last` : number(status.n_sessions);
  return seen;
}

function version(model) {
  return model.version === 1 && !replaced.has(model.name) ? "" : ` (version ${model.version})`;
}

function sessionsOf(model) {
  return `${number(model.sessions)} session${model.sessions === 1 ? "" : "s"}`;
}

function showModels(status, seconds, seen) {
  replaced = new Set(status.replaced.map((model) => model.name));
  const served = status.models.map((model) => {
    const before = previous.get(model.name);
    seen.set(model.name, model.samples);
    const rate = before === undefined || !seconds ? 0 : (model.samples - before) / seconds;
    return text("li", `${model.name}${version(model)}: ${number(model.samples)} samples, ${number(rate)} a second, `
      + sessionsOf(model));
  });
  const whole = status.whole.map((model) =>
    text("li", `${model.name}${version(model)}: whole sequences, ${number(model.requests)} request${model.requests === 1 ? "" : "s"}`));
  at("model-list").replaceChildren(...served, ...whole, ...status.replaced.map((model) =>
    text("li", `${model.name}${version(model)}, replaced: ${sessionsOf(model)}`, "quiet")));
  if (models.map((model) => model.name).join() !== status.models.map((model) => model.name).join()) {
    models = status.models;
    at("stream-model").replaceChildren(...models.map((model) => text("option", model.name)));
    showSources();
  }
}

function showRefusals(status) {
  at("refused-counts").replaceChildren(...Object.entries(status.refused).map(([kind, count]) => text("li", `${kind}: ${number(count)}`)));
  at("refusal-rows").replaceChildren(...status.refusals.slice(0, 20).map((refusal) => {
    const row = document.createElement("tr");
    row.append(cell(new Date(1000 * refusal.at).toLocaleTimeString()), cell(refusal.kind), cell(refusal.session),
      cell(refusal.reason, "why"));
    return row;
  }));
  at("no-refusals").hidden = status.refusals.length > 0;
}

async function refresh() {
  try {
    const status = await get("/api/sessions");
    const now = performance.now() / 1000;
    const seconds = previousTime ? now - previousTime : 0;
    const seen = showSessions(status, seconds);
    showModels(status, seconds, seen);
    showRefusals(status);
    previous = seen;
    previousTime = now;
    at("state").textContent = status.ready ? `not ready: ${status.ready}`
      : `ready, up ${number(status.up)} s, loop lag ${number(1000 * status.lag)} ms`;
    at("state").className = status.ready ? "bad" : "good";
  } catch (error) {
    at("state").textContent = error.message;
    at("state").className = "bad";
  }
  setTimeout(refresh, PAUSE);
}

// One session live.

function columns(ports) {
  return Object.entries(ports).flatMap(([name, rows]) => (rows[0] || []).map((_, index) =>
    (rows[0].length > 1 ? `${name} ${index}` : name)));
}

function rowsOf(ports) {
  const named = Object.values(ports);
  return named[0].map((_, index) => named.flatMap((rows) => rows[index]));
}

function watch(model, session) {
  if (watching) watching.close();
  inputs.clear();
  outputs.clear();
  at("live").hidden = false;
  at("live-name").textContent = session.startsWith("~") ? "(no name)" : session;
  at("live-note").textContent = "waiting for samples";
  const socket = new WebSocket(address("/watch", { model, session }));
  watching = socket;
  socket.onmessage = ({ data }) => {
    const seen = JSON.parse(data);
    inputs.add(rowsOf(seen.inputs), columns(seen.inputs));
    outputs.add(rowsOf(seen.outputs), columns(seen.outputs));
    at("live-note").textContent = `${number(seen.n)} messages seen`;
  };
  return new Promise((opened) => {
    socket.onopen = opened;
    socket.onclose = () => {
      if (watching === socket) at("live-note").textContent = "the connection has ended";
      opened();
    };
  });
}

// Streaming from here.

function chosenModel() {
  return models.find((model) => model.name === at("stream-model").value);
}

function showSources() {
  const model = chosenModel();
  const isDemo = model && model.inputs.length === 1 && String(model.inputs[0].shape) === "6";
  const demo = isDemo ? recordings.map((recording) => text("option", `recording: ${recording.name}`)) : [];
  at("stream-source").replaceChildren(...demo, text("option", "a CSV file"));
  showFile();
}

function showFile() {
  at("file-label").hidden = at("stream-source").value !== "a CSV file";
}

async function chosenRows(model) {
  const recording = recordings.find(({ name }) => `recording: ${name}` === at("stream-source").value);
  if (recording) return recording.samples;
  const [port] = model.inputs;
  if (model.inputs.length > 1) throw new Error("the page streams to models of one input: use a client for this one");
  const [file] = at("stream-file").files;
  if (!file) throw new Error("choose a CSV file");
  const rows = parseCsv(await file.text(), port.shape.reduce((product, size) => product * size, 1));
  return port.shape.length ? rows.map((row) => shaped(row, port.shape)) : rows.map(([word]) => word);
}

function shaped(row, shape) {
  if (shape.length === 1) return row;
  const size = row.length / shape[0];
  return Array.from({ length: shape[0] }, (_, index) => shaped(row.slice(index * size, (index + 1) * size), shape.slice(1)));
}

function told(content, isRunning, isBad) {
  at("stream-state").textContent = content;
  at("stream-state").className = isBad ? "bad" : "quiet";
  at("stream-start").disabled = isRunning;
  at("stream-stop").disabled = !isRunning;
}

at("stream-form").onsubmit = async (event) => {
  event.preventDefault();
  const model = chosenModel(), session = at("stream-session").value;
  try {
    const rows = await chosenRows(model);
    told("connecting …", true, false);
    await watch(model.name, session);
    streaming = new Streaming(address("/ws", { model: model.name, session }), rows, Number(at("stream-rate").value), told);
  } catch (error) {
    told(error.message, false, true);
  }
};
at("stream-stop").onclick = () => streaming.stop();
at("stream-model").onchange = showSources;
at("stream-source").onchange = showFile;
at("token-form").onsubmit = (event) => {
  event.preventDefault();
  token = at("token").value;
  sessionStorage.setItem("token", token);
  start();
};
matchMedia("(prefers-color-scheme: dark)").onchange = () => [inputs, outputs].forEach((chart) => chart.draw());
window.onresize = () => [inputs, outputs].forEach((chart) => chart.draw());

async function start() {
  try {
    ({ recordings } = await get("/api/recordings"));
    showSources();
  } catch {
    recordings = [];
  }
}

start();
refresh();
