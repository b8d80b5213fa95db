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
let shown = null; // the answer of the service, with decoded masks and the picture
const hidden = new Set(); // the layers that are switched off

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
  const body = await response.json();
  if (response.status === 401) {
    at("token-row").hidden = false;
  }
  if (!response.ok) {
    throw new Error(body.error);
  }
  return body;
}

async function loadTasks() {
  try {
    const tasks = await ask("tasks");
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
  at("go").disabled = true;
  say("Predicting …");
  try {
    const { results } = await ask("predict", { method: "POST", body: form });
    await show(results);
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

async function show(results) {
  const [first] = results;
  const image = await picture(`data:image/jpeg;base64,${first.picture_jpeg}`);
  const layers = [];
  for (const result of results) {
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
  layers.forEach((layer, index) => { layer.colour = COLOURS[index % COLOURS.length]; });
  shown = { results, image, layers };
  hidden.clear();
  at("layers").replaceChildren(element("legend", { textContent: "Shown" }), ...layers.map(layerLabel));
  at("layers").hidden = !layers.length;
  at("answers").replaceChildren(...results.map(answer));
  at("canvas").setAttribute("aria-label", results.map((r) => `${r.task}: ${r.answer}`).join("; "));
  at("results").hidden = false;
  draw();
}

function layerLabel(layer) {
  const box = element("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => {
    hidden[box.checked ? "delete" : "add"](layer);
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
  const visible = layers.filter((layer) => !hidden.has(layer));
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
  if (result.expected !== null) {
    part.append(element("p", { className: "quiet", textContent: `Expected score ${result.expected.toFixed(2)}` }));
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

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

at("file").addEventListener("change", (event) => choose(event.target.files[0]));
at("drop").addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
at("form").addEventListener("submit", predict);
at("opacity").addEventListener("input", draw);
at("token").addEventListener("change", loadTasks);
at("save-picture").addEventListener("click", () => at("canvas").toBlob((blob) => save("prediction.png", blob)));
at("save-record").addEventListener("click", () => {
  const records = shown.results.map(({ picture_jpeg: _, ...record }) => record);
  save("prediction.json", new Blob([JSON.stringify(records, null, 2)], { type: "application/json" }));
});
loadTasks();
