// Takes a picture by a button, dropped or pasted, and sends its bytes to Python.
const MOST = 8 * 1024 * 1024; // Jupyter ends the connection at a message of 10 MB

async function take(model, files) {
  const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
  if (!file) {
    model.send({ fault: "there is no picture in it; drop or paste the file itself" });
  } else if (file.size > MOST) {
    model.send({ fault: `${file.name} has ${(file.size / 1048576).toFixed(0)} MB; make it smaller than 8 MB` });
  } else {
    model.send({ name: file.name }, undefined, [await file.arrayBuffer()]);
  }
}

function render({ model, el }) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*", hidden: true });
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Upload a picture" });
  const zone = document.createElement("div");
  zone.className = "clipcap-input";
  zone.tabIndex = 0;
  zone.setAttribute("aria-label", "drop or paste a picture here");
  zone.dataset.lmSuppressShortcuts = "true"; // or the notebook would take what is pasted
  zone.append(button, input, " or drop one here, or click here and paste one");
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
