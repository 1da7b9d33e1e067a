// Takes a picture by a button, dropped or pasted, and sends its bytes to Python.
const MEGABYTE = 1024 * 1024;
const MOST = 8 * MEGABYTE; // Jupyter ends the connection at a message of 10 MB
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

async function take(model, files) {
  const words = model.get("words");
  const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
  if (!file) {
    model.send({ fault: words.none });
  } else if (file.size > MOST) {
    const size = (file.size / MEGABYTE).toFixed(0);
    model.send({ fault: fill(words.large, { name: file.name, size, most: MOST / MEGABYTE }) });
  } else {
    model.send({ name: file.name }, undefined, [await file.arrayBuffer()]);
  }
}

function render({ model, el }) {
  const words = model.get("words");
  const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*", hidden: true });
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: words.upload });
  const zone = document.createElement("div");
  zone.className = "clipcap-input";
  zone.tabIndex = 0;
  zone.setAttribute("aria-label", words.zone);
  zone.dataset.lmSuppressShortcuts = "true"; // or the notebook would take what is pasted
  zone.append(button, input, words.ways);
  el.append(zone);

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) take(model, input.files);
    input.value = ""; // the same file can be chosen again
  });
  const over = (event, inside) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.toggle("over", inside);
  };
  zone.addEventListener("dragover", (event) => over(event, true));
  zone.addEventListener("dragleave", (event) => over(event, false));
  zone.addEventListener("drop", (event) => {
    over(event, false);
    take(model, event.dataTransfer.files);
  });
  zone.addEventListener("paste", (event) => {
    event.preventDefault();
    event.stopPropagation();
    take(model, event.clipboardData.files);
  });
}

export default { render };
