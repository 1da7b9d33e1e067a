// Shows HTML and tells Python the data-value of what was clicked in it.
function render({ model, el }) {
  el.classList.add("clipcap-clickable");
  const mark = () => {
    el.inert = model.get("busy");
    for (const part of el.querySelectorAll("[data-value]")) {
      part.setAttribute("aria-pressed", String(part.dataset.value === model.get("chosen")));
    }
  };
  const show = () => {
    el.innerHTML = model.get("html");
    mark();
  };
  el.addEventListener("click", (event) => {
    const part = event.target.closest("[data-value]");
    if (part) model.send(part.dataset.value);
  });
  model.on("change:html", show);
  model.on("change:chosen change:busy", mark);
  show();
}

export default { render };
