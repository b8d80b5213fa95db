"use strict";

// The colours of aurora/render/drawing.py, which people with a colour-vision deficiency can tell apart.
const COLOURS = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167]];
// The first pattern that a task's id matches names its group.
const GROUPS = [
  ["Fetus and birth", /fetal|head|iugc/i], ["Cervix and uterus", /cervix|fugc|uter/i], ["Breast", /breast/i],
  ["Heart", /heart|cardiac/i], ["Lung", /lung/i], ["Thyroid and neck", /thyroid|carotid/i],
  ["Liver and abdomen", /liver|gallbladder|organ/i], ["Ovary", /ovary/i], ["Spine", /spin/i], ["Others", /./],
];
const TYPES = { segmentation: "outline", classification: "class", detection: "box", Regression: "landmarks" };

const at = (id) => document.getElementById(id);
let file = null;
let frames = []; // the service's answers, one for each frame; one for a still image
let curves = new Map(); // the values of all frames, by what was measured
let shown = null; // the frame that is shown, with its picture and decoded masks
const hidden = new Set(); // the names of the layers that are switched off

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

function headers() {
  return at("token").value ? { Authorization: `Bearer ${at("token").value}` } : {};
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  if (response.status === 401) {
    at("token-row").hidden = false;
  }
  if (!response.ok) {
    throw new Error((await response.json()).error);
  }
  return response;
}

async function* lines(response) {
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop();
    yield* parts.map((part) => JSON.parse(part));
  }
}

async function loadTasks() {
  try {
    const tasks = await (await ask("tasks")).json();
    const groups = element("div", { className: "groups" });
    for (const [title] of GROUPS) {
      const members = tasks.filter((task) => GROUPS.find(([, pattern]) => pattern.test(task.id))[0] === title);
      if (members.length) {
        groups.append(element("div", {}, element("h3", { textContent: title }), ...members.map(taskLabel)));
      }
    }
    at("tasks").replaceChildren(element("legend", { textContent: "What to look for" }), groups);
    say("");
  } catch (error) {
    say(`The tasks can't be loaded: ${error.message}`, true);
    setTimeout(loadTasks, 2000);
  }
  update();
}

function taskLabel(task) {
  const box = element("input", { type: "checkbox", name: "task", value: task.id });
  box.addEventListener("change", update);
  const text = ` ${task.id.replaceAll("_", " ")} (${TYPES[task.type] ?? task.type})`;
  return element("label", { title: task.trained_on ? `trained on ${task.trained_on}` : "" }, box, text);
}

function chosenTasks() {
  return [...document.querySelectorAll("#tasks input:checked")].map((box) => box.value);
}

function update() {
  at("go").disabled = !(file && chosenTasks().length);
}

function choose(found) {
  if (found) {
    file = found;
    at("chosen").textContent = found.name;
    update();
  }
}

async function predict(event) {
  event.preventDefault();
  const form = new FormData();
  form.append("image", file);
  chosenTasks().forEach((task) => form.append("task", task));
  if (at("pixel-size").value) {
    form.append("pixel_size", at("pixel-size").value);
  }
  form.append("picture", "true");
  if (at("frames").value) {
    form.append("frames", at("frames").value);
  }
  at("go").disabled = true;
  say("Predicting …");
  try {
    const response = await ask("predict", { method: "POST", body: form });
    const found = [];
    if (at("frames").value) {
      for await (const frame of lines(response)) {
        found.push(frame);
        say(`Predicting … frame ${frame.frame ?? 0} of ${frame.frames}`);
      }
    } else {
      found.push({ frame: null, ...(await response.json()) });
    }
    frames = found;
    hidden.clear();
    prepareCine();
    at("results").hidden = false; // the curve is as wide as its place
    await show(0);
    say("Done.");
    at("results-title").focus();
  } catch (error) {
    at("results").hidden = true;
    say(error.message, true);
  }
  update();
}

async function picture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

async function classIds(png) {
  const image = await picture(`data:image/png;base64,${png}`);
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return data.filter((_, index) => index % 4 === 0);
}

// In the place of a frame that can't be read.
function blank() {
  const canvas = new OffscreenCanvas(320, 240);
  canvas.getContext("2d");
  return canvas;
}

async function show(index) {
  const { results } = frames[index];
  const [{ picture_jpeg: jpeg }] = results;
  const image = jpeg ? await picture(`data:image/jpeg;base64,${jpeg}`) : blank();
  const layers = [];
  for (const result of results.filter((found) => !found.fallback)) {
    const ids = result.mask_png ? await classIds(result.mask_png) : null;
    const present = ids ? [...new Set(ids)].filter(Boolean).sort((a, b) => a - b) : [];
    present.forEach((id) => layers.push({ name: `${result.task}: ${result.names[id] ?? `class ${id}`}`, ids, id }));
    if (result.box) {
      layers.push({ name: `${result.task}: ${result.names[0] ?? "box"}`, box: result.box });
    }
    (result.points ?? []).forEach((point, index) => {
      layers.push({ name: `${result.task}: ${result.names[index] ?? `point ${index + 1}`}`, point });
    });
  }
  if (frames.length > 1 && Number(at("frame").value) !== index) {
    return; // the slider has moved on
  }
  layers.forEach((layer, number) => { layer.colour = COLOURS[number % COLOURS.length]; });
  shown = { index, image, layers };
  at("layers").replaceChildren(element("legend", { textContent: "Shown" }), ...layers.map(layerLabel));
  at("layers").hidden = !layers.length;
  at("save-masks").hidden = !layers.some((layer) => layer.ids);
  at("answers").replaceChildren(...results.map(answer));
  at("canvas").setAttribute("aria-label", results.map((r) => `${r.task}: ${r.answer}`).join("; "));
  at("frame-number").textContent = frames[index].frame ?? "";
  draw();
  drawCurve();
}

function layerLabel(layer) {
  const box = element("input", { type: "checkbox", checked: !hidden.has(layer.name) });
  box.addEventListener("change", () => {
    hidden[box.checked ? "delete" : "add"](layer.name);
    draw();
  });
  const key = element("span", { className: "key" });
  key.style.background = `rgb(${layer.colour})`;
  return element("label", {}, box, " ", key, layer.name);
}

function draw() {
  const canvas = at("canvas");
  const { image, layers } = shown;
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const visible = layers.filter((layer) => !hidden.has(layer.name));
  paintMasks(context, visible.filter((layer) => layer.ids), canvas);
  context.lineWidth = Math.max(2, image.width / 300);
  for (const layer of visible) {
    context.strokeStyle = `rgb(${layer.colour})`;
    if (layer.box) {
      const [x1, y1, x2, y2] = layer.box;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    if (layer.point) {
      cross(context, layer.point, image.width / 50);
    }
  }
}

function paintMasks(context, layers, { width, height }) {
  const share = at("opacity").value / 100;
  const pixels = context.getImageData(0, 0, width, height);
  for (const { ids, id, colour } of layers) {
    for (let place = 0; place < ids.length; place += 1) {
      if (ids[place] === id) {
        // The outline stays visible at any opacity.
        const inside = [place - 1, place + 1, place - width, place + width].every((other) => ids[other] === id);
        const weight = inside ? share : 1;
        for (let channel = 0; channel < 3; channel += 1) {
          const index = 4 * place + channel;
          pixels.data[index] += weight * (colour[channel] - pixels.data[index]);
        }
      }
    }
  }
  context.putImageData(pixels, 0, 0);
}

function cross(context, [x, y], size) {
  context.beginPath();
  context.moveTo(x - size, y);
  context.lineTo(x + size, y);
  context.moveTo(x, y - size);
  context.lineTo(x, y + size);
  context.stroke();
}

function answer(result) {
  const part = element("section", {}, element("h3", { textContent: `${result.task}: ${result.answer}` }));
  if (result.confidence !== null) {
    const [confidence, expected] = [result.confidence, result.expected].map((value) => value.toFixed(2));
    part.append(element("p", { className: "quiet", textContent: `Confidence ${confidence}, expected score ${expected}` }));
  }
  for (const warning of result.warnings) {
    part.append(element("p", { className: "bad", textContent: `! ${warning}` }));
  }
  if (result.probabilities) {
    part.append(table(`Probabilities of ${result.task}`, ["class", "probability"], result.probabilities.map((value, index) => [
      result.names[index] ?? `class ${index}`, bar(value),
    ])));
  }
  if (result.measurements.length) {
    part.append(table(`Measurements of ${result.task}`, ["structure", "measurement", "value"], result.measurements.map((item) => [
      item.structure_name ?? (item.structure === null ? "" : `class ${item.structure}`),
      item.name, `${item.value.toFixed(1)} ${item.unit}`,
    ])));
  }
  return part;
}

function bar(value) {
  const meter = element("meter", { value, ariaLabel: "probability" });
  return element("span", {}, meter, ` ${(100 * value).toFixed(0)} %`);
}

function table(name, titles, rows) {
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col", textContent: title })));
  const lines = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: name }, made);
}

// What is measured in the frames: by its name, the values of all frames, undefined where there is none.
function quantities() {
  const found = new Map();
  frames.forEach(({ results }, index) => results.filter((r) => !r.fallback).forEach((result) => {
    const values = result.measurements.map((item) => [[
      `${result.task}: ${item.name}`, item.structure_name ?? (item.structure === null ? "" : `class ${item.structure}`),
      `[${item.unit}]`].filter(Boolean).join(" "), item.value]);
    (result.probabilities ?? []).forEach((value, label) => {
      values.push([`${result.task}: probability of ${result.names[label] ?? `class ${label}`}`, value]);
    });
    values.push([`${result.task}: confidence`, result.confidence]);
    for (const [name, value] of values) {
      found.set(name, found.get(name) ?? new Array(frames.length));
      found.get(name)[index] = value;
    }
  }));
  return found;
}

function prepareCine() {
  at("cine").hidden = frames.length < 2;
  [at("frame").max, at("frame").value] = [frames.length - 1, 0];
  curves = quantities();
  const names = [...curves.keys()];
  at("quantity").replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
}

function drawCurve() {
  if (frames.length < 2) {
    return;
  }
  const values = curves.get(at("quantity").value) ?? [];
  const known = values.filter((value) => value !== undefined);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const width = at("curve").clientWidth;
  const x = (index) => 60 + ((width - 70) * index) / (frames.length - 1);
  const y = (value) => 110 - (100 * (value - low)) / (high - low || 1);
  const make = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  };
  const [lowest, highest] = [low, high].map((value) => String(Number(value.toPrecision(3))));
  const label = `${at("quantity").value}, from ${lowest} to ${highest}`;
  const chart = make("svg", { width, height: 130, role: "img", "aria-label": label });
  const path = [...values].map((value, index) => (value === undefined ? ""
    : `${values[index - 1] === undefined ? "M" : "L"}${x(index)} ${y(value)}`)).join("");
  chart.append(
    make("path", { d: path, class: "line" }),
    make("line", { x1: x(shown.index), x2: x(shown.index), y1: 5, y2: 115, class: "now" }),
    make("text", { x: 55, y: 14, "text-anchor": "end" }, highest),
    make("text", { x: 55, y: 114, "text-anchor": "end" }, lowest),
    make("text", { x: 60, y: 128 }, `frame ${frames[0].frame}`),
    make("text", { x: width - 10, y: 128, "text-anchor": "end" }, `frame ${frames.at(-1).frame}`),
  );
  at("curve").replaceChildren(chart);
}

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

at("file").addEventListener("change", (event) => choose(event.target.files[0]));
// An image may be dropped anywhere: beside the field, the browser would leave the page for it.
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => at("drop").classList.toggle("over", event.relatedTarget !== null));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) {
    at("file").files = event.dataTransfer.files;
    choose(at("file").files[0]);
  }
});
at("form").addEventListener("submit", predict);
at("opacity").addEventListener("input", draw);
at("frame").addEventListener("input", () => show(Number(at("frame").value)));
at("quantity").addEventListener("change", drawCurve);
window.addEventListener("resize", drawCurve);
at("token").addEventListener("change", loadTasks);
at("save-picture").addEventListener("click", () => at("canvas").toBlob((blob) => save("prediction.png", blob)));
at("save-masks").addEventListener("click", () => {
  const { frame, results } = frames[shown.index];
  for (const { task, mask_png: png } of results.filter((result) => result.mask_png)) {
    const name = frame === null ? `${task}.png` : `${task}-${frame}.png`;
    save(name, new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))], { type: "image/png" }));
  }
});
at("save-record").addEventListener("click", () => {
  const records = frames.flatMap(({ results }) => results.map(({ picture_jpeg: _, ...record }) => record));
  save("prediction.json", new Blob([JSON.stringify(records, null, 2)], { type: "application/json" }));
});
loadTasks();
