"use strict";
// Draws what /emulator/events sends. Texts of users are set as text only, never as HTML.
const $ = (selector) => document.querySelector(selector);
const SVG = "http://www.w3.org/2000/svg";
const shown = {};
let content = { jobs: [], runs: [], models: [], endpoints: [], prompts: {}, faults: {} };

function add(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) if (value !== false) element.setAttribute(name, value);
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
const h = (tag, attributes, ...children) => add(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => add(document.createElementNS(SVG, tag), attributes, children);
const last = (name) => name.split("/").pop();
const number = (value) => (value === null ? "not a number" : Math.abs(value) >= 1000 ? Math.round(value).toString() : Number(value).toPrecision(3));
const facts = (pairs) => h("dl", { class: "facts" }, Object.entries(pairs).filter(([, value]) => value !== "" && value !== undefined)
  .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("bdi", {}, String(value))))));
const words = (name) => name.replace(/([A-Z])/g, (letter) => " " + letter.toLowerCase()).replace(/_/g, " ").trim();

function table(caption, headings, rows, none) {
  if (!rows.length) return h("p", { class: "muted none" }, none || "none yet");
  const head = h("thead", {}, h("tr", {}, headings.map((text) => h("th", { scope: "col" }, text))));
  const body = h("tbody", {}, rows.map(({ cells, kind }) => h("tr", { class: kind || "" }, cells.map((cell, index) =>
    index ? h("td", {}, cell) : h("th", { scope: "row" }, cell)))));
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table: " + caption }, h("table", {}, head, body));
}

function plot(title, series) {
  const points = Object.values(series).flat().filter(([, y]) => Number.isFinite(y));
  if (!points.length) return null;
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  const [right, least, high] = [Math.max(...xs, 1), Math.min(...ys), Math.max(...ys)];
  const low = least > 0 && least < high / 4 ? 0 : least;
  const x = (step) => 46 + 300 * step / right, y = (value) => 150 - 120 * (value - low) / (high - low || 1);
  const draw = ([name, values]) => {
    const kept = values.filter(([, value]) => Number.isFinite(value));
    const path = "M" + kept.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join("L");
    const kind = name.startsWith("eval") ? "" : " old"; // the colours of the report
    return kept.length ? [s("path", { class: "line" + kind, d: path }), kept.length < 20 ? kept.map(([step, value]) =>
      s("path", { class: "mark" + kind, d: `M${x(step)},${y(value)}h.01` })) : null] : null;
  };
  const label = `${title}: ` + Object.entries(series).filter(([, values]) => values.length)
    .map(([name, values]) => `${words(name)} ${number(values[0][1])} to ${number(values[values.length - 1][1])}`).join(", ");
  const axis = [s("path", { class: "grid", d: "M46,30V150H346M46,90H346M46,30H346" }),
    s("text", { x: 42, y: 34, "text-anchor": "end" }, number(high)), s("text", { x: 42, y: 154, "text-anchor": "end" }, number(low)),
    s("text", { x: 46, y: 168 }, "0"), s("text", { x: 346, y: 168, "text-anchor": "end" }, `step ${right}`)];
  return h("figure", {}, s("svg", { class: "plot curve", viewBox: "0 0 352 174", role: "img", "aria-label": label },
    s("text", { class: "title", x: 46, y: 16 }, title), axis, Object.entries(series).map(draw)),
  h("figcaption", {}, Object.entries(series).map(([name, values]) => h("span", {},
    h("i", { class: "key" + (name.startsWith("eval") ? "" : " old") }),
    `${words(name.startsWith("eval") ? "validation" : "training")} ${values.length ? number(values[values.length - 1][1]) : ""}`))));
}

function job(item) {
  const groups = {};
  for (const [name, points] of Object.entries(item.curves)) {
    const [, kind, title] = name.match(/^\/?(train|eval)?_?(.*)$/);
    (groups[title] = groups[title] || {})[kind || "train"] = points;
  }
  const settings = Object.fromEntries(Object.entries(item.settings).map(([name, value]) => [words(name), value]));
  const progress = Object.fromEntries(Object.entries(item.progress).map(([name, value]) => [words(name), value]));
  const version = content.models.find((model) => model.checkpoints && (model.labels || {})["google-vertex-llm-tuning-job-id"] === last(item.name));
  return h("article", { class: "card job " + item.state }, h("h3", {}, h("bdi", {}, item.title || last(item.name))),
    h("p", { class: "state" }, item.state.toLowerCase(), item.state === "RUNNING" || item.state === "PENDING" ? `: ${words(item.detail.toLowerCase())}` : ""),
    item.error ? h("p", { class: "error" }, item.error) : null,
    facts({ base: item.base, method: words(item.method.toLowerCase()), ...settings, ...progress, created: item.created.replace("T", " ") + " UTC" }),
    h("div", { class: "plots" }, Object.entries(groups).map(([title, series]) => plot(words(title), series))),
    item.state === "SUCCEEDED" && version ? facts({ checkpoints: version.checkpoints.map((point) =>
      `${point.checkpointId} (epoch ${point.epoch}, step ${point.step})`).join(", "), default: version.defaultCheckpointId }) : null);
}

function run(item) {
  const level = {}, nodes = {}, rows = [];
  for (const task of item.tasks) {
    level[task.name] = Math.max(-1, ...task.after.map((name) => level[name] ?? -1)) + 1;
    (rows[level[task.name]] = rows[level[task.name]] || []).push(task);
  }
  const columns = window.innerWidth < 700 ? 1 : 4, width = columns * 190 + 16, place = {};
  let top = 10;
  rows.forEach((tasks, index) => {  // levels from left to right, and below each other in bands
    const column = index % columns;
    if (column === 0 && index) top += 40 * Math.max(...rows.slice(index - columns, index).map((row) => row.length)) + 16;
    tasks.forEach((task, down) => { place[task.name] = { x: column * 190 + 18, y: top + 40 * down, top, column }; });
  });
  const height = Math.max(0, ...Object.values(place).map(({ y }) => y)) + 40;
  const edges = item.tasks.flatMap((task) => task.after.map((name) => {
    const from = place[name], to = place[task.name], next = from.top === to.top && to.column === from.column + 1;
    const way = next ? `H${to.x - 14}` : `h10V${to.top - 8}H${to.x - 14}`;
    return s("path", { class: "edge", d: `M${from.x + 160},${from.y + 16}${way}V${to.y + 16}H${to.x}` });
  }));
  for (const task of item.tasks) {
    const { x, y } = place[task.name], state = item.states[task.name] || "waiting";
    nodes[task.name] = s("g", { class: "node " + state }, s("title", {}, `${task.name}: ${state.toLowerCase()}`),
      s("rect", { x, y, width: 160, height: 32, rx: 4 }), s("text", { x: x + 8, y: y + 20 }, { SUCCEEDED: "✓ ", RUNNING: "● ", FAILED: "✗ " }[state] || "", task.name));
  }
  const states = item.tasks.map((task) => `${task.name} ${(item.states[task.name] || "waiting").toLowerCase()}`).join(", ");
  return h("article", { class: "card run " + item.state }, h("h3", {}, h("bdi", {}, item.title || last(item.name))),
    h("p", { class: "state" }, item.state.toLowerCase()),
    item.tasks.length ? h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Steps of " + last(item.name) },
      s("svg", { class: "graph", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": states }, edges, Object.values(nodes))) : null);
}

const parts = {
  runs: (now) => [...now.runs.map(run), now.runs.length ? null : h("p", { class: "muted none" }, "none yet"),
    now.schedules.length ? table("Schedules", ["schedule", "state", "next run"], now.schedules.map((item) =>
      ({ cells: [h("bdi", {}, item.title), item.state.toLowerCase(), item.next.replace("T", " ")] }))) : null],
  jobs: (now) => now.jobs.length ? now.jobs.map(job) : [h("p", { class: "muted none" }, "none yet")],
  models: (now) => [table("Models", ["model", "version", "aliases", "checkpoints (default)", "deployed"], now.models.map((model) => ({ kind: "model",
    cells: [h("bdi", {}, model.title || last(model.name)), model.versionId, model.versionAliases.join(", "),
      `${(model.checkpoints || []).length} (${model.defaultCheckpointId || "none"})`, `${model.deployedModels.length} endpoint${model.deployedModels.length === 1 ? "" : "s"}`] })))],
  endpoints: (now) => [table("Endpoints", ["endpoint", "deployed models and traffic", "name"], now.endpoints.map((endpoint) => ({ kind: "endpoint",
    cells: [h("bdi", {}, endpoint.title), endpoint.deployedModels.length ? endpoint.deployedModels.map((item) =>
      h("div", {}, `${endpoint.trafficSplit[item.id] || 0}%: ${last(item.model)}, checkpoint ${item.checkpointId || ""}`)) : "undeployed",
      h("code", {}, endpoint.name)] })))],
  requests: (now) => [table("Requests", ["time", "method", "path", "status", "ms"], now.requests.map((item) => ({ kind: item.status < 400 ? "" : "error",
    cells: [item.time, item.method, h("code", {}, item.path), String(item.status || "none"), String(item.ms)] })))],
  buckets: (now) => now.buckets.length ? now.buckets.map((name) => folder(name, "")) : [h("p", { class: "muted none" }, "none yet")],
};
const reads = { runs: ["runs", "schedules"], jobs: ["jobs", "models"] };

function folder(bucket, prefix) {
  const inside = h("div", {}), title = prefix ? prefix.split("/").slice(-2)[0] + "/" : "gs://" + bucket;
  const element = h("details", { class: "folder" }, h("summary", {}, title), inside);
  element.addEventListener("toggle", async () => {
    if (!element.open) return;
    const answer = await fetch(`/storage/v1/b/${encodeURIComponent(bucket)}/o?delimiter=/&maxResults=200&prefix=${encodeURIComponent(prefix)}`);
    const page = await answer.json();
    inside.replaceChildren(...(page.prefixes || []).map((name) => folder(bucket, name)),
      page.items ? table("Objects", ["object", "bytes"], page.items.map((item) => ({ cells: [
        h("a", { href: `/storage/v1/b/${encodeURIComponent(bucket)}/o/${encodeURIComponent(item.name)}?alt=media`, download: last(item.name) }, item.name.slice(prefix.length) || item.name), item.size] }))) : "",
      page.nextPageToken ? h("p", { class: "muted" }, "the first 200 are listed") : "");
  });
  return element;
}

// --- a text, sent to three models

const answers = ["prompt", "tuned", "champion"].map((role) => {
  const select = h("select", { id: "try-" + role }), output = h("output", { for: "try-text" }), note = h("p", { class: "muted" });
  $(".answers").append(h("div", {}, h("label", { for: "try-" + role }, role), select, output, note));
  return { role, select, output, note };
});

function targets(role) {
  const served = content.models.filter((model) => model.deployedModels.length);
  const isChampion = (model) => model.versionAliases.includes("champion");
  const own = role === "champion" ? served.filter(isChampion) : served.sort((a, b) => isChampion(a) - isChampion(b));
  if (role === "prompt") return Object.keys(content.prompts).filter((name) => name.startsWith("models/")).map((name) => [name, last(name)]);
  const isDefault = (model, item) => item.checkpointId === model.defaultCheckpointId;
  return own.flatMap((model) => model.deployedModels.toSorted((a, b) => isDefault(model, b) - isDefault(model, a)).map((item) =>
    [item.endpoint, `${model.title || last(model.name)} checkpoint ${item.checkpointId || "default"}`]));
}

function offer() {
  for (const { role, select } of answers) {
    const options = targets(role), text = JSON.stringify(options), kept = select.value;
    if (select.dataset.options === text) continue;
    select.dataset.options = text;
    select.replaceChildren(...(options.length ? options : [["", "none yet"]]).map(([value, label]) => h("option", { value }, label)));
    if (options.some(([value]) => value === kept)) select.value = kept;
  }
}

async function send(target, text) {
  const isBase = target.startsWith("models/"), known = isBase ? target : "endpoints/" + last(target);
  const any = Object.entries(content.prompts).find(([name]) => name.startsWith("endpoints/"));
  const prompt = content.prompts[known] || (any && any[1]) || { contents: [{ role: "user", parts: [{ text: "{text}" }] }] };
  const body = structuredClone(prompt), part = body.contents[body.contents.length - 1].parts.slice(-1)[0];
  part.text = part.text.replace("{text}", () => text);
  const path = isBase ? `projects/demo-project/locations/us-central1/publishers/google/${target}` : target;
  const answer = await fetch(`/v1beta1/${path}:generateContent`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error.message);
  const candidate = (value.candidates || [])[0] || {};
  const tokens = value.usageMetadata ? `${value.usageMetadata.totalTokenCount} tokens` : "";
  return [((candidate.content || {}).parts || []).map((piece) => piece.text || "").join(""), `${candidate.finishReason || "blocked"}, ${tokens}`];
}

$("#try-form").addEventListener("submit", (event) => {
  event.preventDefault();
  for (const { select, output, note } of answers) {
    output.textContent = note.textContent = "";
    if (!select.value) continue;
    const started = performance.now();
    output.textContent = "…";
    send(select.value, $("#try-text").value).then(([text, details]) => {
      output.textContent = text || "(empty answer)";
      note.textContent = `${details}, ${Math.round(performance.now() - started)} ms`;
    }, (error) => { output.textContent = ""; note.textContent = String(error.message); });
  }
});

// --- faults as switches: the field of the plan, its title, its value when switched on, its value when off

const FAULTS = [["error_rate", "Requests fail with 503", 0.2, 0], ["drop_rate", "Connections break before the request is handled", 0.1, 0],
  ["lost_rate", "Responses are lost after it is handled", 0.1, 0], ["slow_rate", "Requests wait a second", 0.5, 0],
  ["quota_per_minute", "Generate calls a minute, 429 above", 60, null], ["tuning_quota", "Tuning jobs at a time, 429 above", 1, null],
  ["blocked_rate", "Answers are blocked", 0.1, 0], ["truncated_rate", "Answers are cut off", 0.1, 0],
  ["job_failure", "Tuning jobs fail midway", "midway", null], ["drop_rows", "Training rows are dropped", 0.1, 0],
  ["log_double_rate", "Logged requests are read twice", 0.1, 0]];
const switches = FAULTS.map(([field, title, on, off]) => {
  const box = h("input", { type: "checkbox", role: "switch", id: "fault-" + field });
  const value = typeof on === "number" ? h("input", { type: "number", id: "value-" + field, value: on, min: 0, max: on < 1 ? 1 : false, step: on < 1 ? 0.05 : 1, "aria-label": title + ": value" }) : null;
  $("#switches").append(h("div", { class: "switch" }, box, h("label", { for: "fault-" + field }, title), value));
  const change = async () => {
    const plan = await (await fetch("/emulator/faults")).json();
    plan[field] = box.checked ? (value ? Number(value.value) : on) : off;
    const answer = await fetch("/emulator/faults", { method: "PUT", body: JSON.stringify(plan) });
    $("#fault-error").textContent = answer.ok ? "" : (await answer.json()).error.message;
    if (!answer.ok) box.checked = false;
  };
  box.addEventListener("change", change);
  if (value) value.addEventListener("change", () => box.checked && change());
  return { field, box, value, off };
});

function draw(now) {
  content = now;
  for (const [id, part] of Object.entries(parts)) {
    const text = JSON.stringify((reads[id] || [id]).map((key) => now[key])) + window.innerWidth;
    if (shown[id] === text) continue;
    shown[id] = text;
    document.querySelector(`#${id} .content`).replaceChildren(...part(now).filter(Boolean));
  }
  for (const { field, box, value, off } of switches) {
    const plan = now.faults[field];
    box.checked = plan !== off;
    if (box.checked && value && document.activeElement !== value) value.value = plan;
  }
  offer();
}

const events = new EventSource("/emulator/events");
events.onmessage = (event) => {
  draw(JSON.parse(event.data));
  $("#connection").textContent = `live at ${location.origin}`;
  document.title = "Vertex AI emulator";
};
events.onerror = () => { $("#connection").textContent = document.title = "Vertex AI emulator: not reachable"; };
