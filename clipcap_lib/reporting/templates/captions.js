"use strict";
// All pictures are data; only those near the screen are elements. State is the form and the picture; the address holds both.

const { voices, pictures, words } = JSON.parse(document.getElementById("data").textContent);
const [browser, form, feed, count, nothing, help, keys, large, title, previous, next, big] =
  ["browser", "filters", "feed", "count", "nothing", "help", "keys", "large", "title", "previous", "next", "big"].map(id => document.getElementById(id));
const SIDE = 96, ACROSS = 10, CHUNK = 10; // pixels of a thumbnail, thumbnails of a sheet each way, pictures that come and go together
pictures.forEach((picture, number) => { picture.number = number; });

const say = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children.flat().filter(child => child !== null));
  return node;
}

// --- one picture

function cell({ thumbnail, id }, side) {
  if (thumbnail === null) return el("span", { class: "box" }, id);
  const [column, row] = [thumbnail % ACROSS, Math.floor(thumbnail / ACROSS) % ACROSS];
  const image = `background-image:url(captions/${Math.floor(thumbnail / ACROSS ** 2)}.webp)`;
  return el("span", { class: "cell", style: `${image};background-position:${-column * side}px ${-row * side}px` });
}

const verdict = wrong => wrong === null ? null
  : wrong.length ? el("span", { class: "wrong" }, `✗ ${wrong.map(name => words.wrong[name]).join(", ")}`) : el("span", { class: "right" }, `✓ ${words.right}`);

function line(said, number) {
  const parts = said && said[0].map(part => typeof part === "string" ? part : el("mark", { title: words.wrong[part[1]] }, part[0]));
  const told = said ? [parts, " ", verdict(said[1])] : [el("span", { class: "silent" }, words.silent)];
  return el("div", { class: number === judged() && form.elements.show ? "judged" : null }, el("dt", {}, voices[number].name), el("dd", {}, ...told));
}

function captions(picture, open) {
  const lines = kind => picture.said.flatMap((said, number) => voices[number].kind === kind && (said || kind === "run") ? [line(said, number)] : []);
  const strategies = lines("strategy"), best = voices.find(voice => voice.kind === "run").name;
  const shown = open || voices[judged()].kind === "strategy" ? "" : null;
  const summary = say(words.strategies_of, { run: best, count: strategies.length });
  return el("dl", { class: "said" }, lines("run"), strategies.length ? el("details", { open: shown }, el("summary", {}, summary), strategies) : null);
}

const references = picture => el("ul", { class: "references", "aria-label": words.references }, picture.references.map(text => el("li", {}, text)));

function card(picture, place) {
  const name = `picture-${picture.number}`;
  const open = el("button", { type: "button", "aria-label": say(words.open, picture) }, cell(picture, SIDE));
  open.addEventListener("click", () => enlarge(place));
  const link = el("a", { href: "#" + encodeURIComponent(picture.id), title: say(words.link, picture) }, picture.id);
  return el("article", { tabindex: 0, "aria-posinset": place + 1, "aria-setsize": shown.length, "aria-labelledby": name, "data-place": place },
    el("div", { class: "thumb" }, open), el("div", { class: "told" }, el("h2", { id: name }, link), references(picture)), captions(picture, false));
}

// --- the list: chunks of pictures, filled while they are near the screen

let shown = [], chunks = [], height = 180; // of a picture, as measured last
const near = new IntersectionObserver(entries => entries.forEach(entry => (entry.isIntersecting ? fill : empty)(entry.target)), { rootMargin: "1500px 0px" });

function fill(chunk) {
  if (!chunk || chunk.firstChild) return;
  const start = chunks.indexOf(chunk) * CHUNK;
  chunk.append(...shown.slice(start, start + CHUNK).map((picture, i) => card(picture, start + i)));
  chunk.style.height = "";
}

function empty(chunk) {
  if (!chunk.firstChild || chunk.contains(document.activeElement)) return;
  height = chunk.offsetHeight / chunk.childElementCount;
  chunk.style.height = `${chunk.offsetHeight}px`; // what is below stays where it is
  chunk.replaceChildren();
}

function list(found) {
  near.disconnect();
  shown = found;
  chunks = Array.from({ length: Math.ceil(found.length / CHUNK) }, (_, i) =>
    el("div", { style: `height:${height * Math.min(CHUNK, found.length - i * CHUNK)}px` }));
  feed.replaceChildren(...chunks);
  chunks.slice(0, 2).forEach(fill);
  chunks.forEach(chunk => near.observe(chunk));
  count.textContent = say(words.shown, { shown: found.length.toLocaleString(words.language), all: pictures.length.toLocaleString(words.language) });
  nothing.hidden = found.length > 0;
}

function go(place, block = "nearest") {
  if (!shown[place]) return;
  const at = Math.floor(place / CHUNK);
  [at - 1, at, at + 1].forEach(i => fill(chunks[i]));
  const article = chunks[at].children[place % CHUNK];
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block });
  current = shown[place].id;
  remember();
}

// The picture that has the focus, if it is on the screen, or else the one before the first that is.
function here() {
  const top = Math.max(0, form.getBoundingClientRect().bottom), focused = document.activeElement.closest("article");
  const seen = article => article.getBoundingClientRect().bottom > top && article.getBoundingClientRect().top < innerHeight;
  if (focused && seen(focused)) return Number(focused.dataset.place);
  const first = [...feed.querySelectorAll("article")].find(seen);
  return first ? Number(first.dataset.place) - 1 : -1;
}

// --- filters

const value = name => form.elements[name]?.value ?? "";
const judged = () => Math.max(0, voices.findIndex(voice => voice.name === value("run")));
const ofKind = (picture, kind) => picture.said.filter((said, number) => said && voices[number].kind === kind);
const spoken = said => said[0].map(part => typeof part === "string" ? part : part[0]).join("");
const disagree = picture => new Set(ofKind(picture, "run").map(spoken)).size > 1;
const texts = new Map(); // what search looks through, by picture

function textOf(picture) {
  if (!texts.has(picture)) texts.set(picture, [picture.id, ...picture.references, ...picture.said.filter(Boolean).map(spoken)].join("\n").toLowerCase());
  return texts.get(picture);
}

function isLike(picture, wanted) {
  const said = picture.said[judged()];
  if (!wanted) return true;
  if (!said || said[1] === null) return false;
  const wrong = said[1], right = ofKind(picture, voices[judged()].kind).filter(other => other[1].length === 0);
  return { right: wrong.length === 0, wrong: wrong.length > 0, only: wrong.length === 0 && right.length === 1 }[wanted] ?? wrong.includes(wanted);
}

function filter() {
  const sought = value("q").toLowerCase().split(/\s+/).filter(Boolean), split = value("split"), wanted = value("show");
  const apart = form.elements.disagree?.checked;
  list(pictures.filter(picture => (!split || picture.split === split) && (!apart || disagree(picture)) && isLike(picture, wanted)
    && sought.every(word => textOf(picture).includes(word))));
}

// --- the address: `#IMAGE_ID`, or `#q=…&show=…&picture=IMAGE_ID`

let current = "", waiting = 0; // the picture's id; a timer

function remember() { // browsers refuse an address that changes too often
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", "#" + address()), 200);
}

function address() {
  const told = new URLSearchParams([...new FormData(form)].filter(([name, text]) => text && (name !== "run" || judged() > 0)));
  if (current && !told.size) return encodeURIComponent(current);
  if (current) told.set("picture", current);
  return told.toString();
}

function follow() {
  const raw = location.hash.slice(1), plain = "picture=" + raw.replaceAll("+", "%2B");
  const told = new URLSearchParams(raw.includes("=") ? raw : plain);
  for (const field of form.elements) {
    if (field.type === "checkbox") field.checked = told.has(field.name);
    else if (field.name) field.value = told.get(field.name) ?? "";
    if (field.tagName === "SELECT" && field.selectedIndex < 0) field.selectedIndex = 0; // nothing was chosen, or what there is not
  }
  filter();
  current = told.get("picture") ?? "";
  const place = shown.findIndex(picture => picture.id === current);
  if (place >= 0) go(place, "start");
  else if (current) count.textContent += ". " + say(words.unknown, { id: current });
}

// --- one picture large

function whole(picture) {
  if (!picture.address) return cell(picture, 288);
  const image = el("img", { src: picture.address, alt: say(words.picture, picture) });
  const note = el("p", { class: "note" }, picture.thumbnail === null ? words.unopened : words.small);
  image.addEventListener("error", () => image.replaceWith(cell(picture, 288), note));
  return image;
}

function enlarge(place) {
  if (!shown[place]) return;
  const picture = shown[place];
  large.dataset.place = place;
  title.textContent = say(words.picture, picture);
  previous.disabled = place === 0;
  next.disabled = place === shown.length - 1;
  big.replaceChildren(el("div", {}, whole(picture)), el("div", {}, el("h3", {}, words.references), references(picture)),
    el("div", { class: "all" }, el("h3", {}, words.captions), captions(picture, true)));
  if (!large.open) large.showModal();
  large.scrollTop = 0;
}

const enlarged = () => Number(large.dataset.place);
previous.addEventListener("click", () => enlarge(enlarged() - 1));
next.addEventListener("click", () => enlarge(enlarged() + 1));
large.addEventListener("close", () => go(enlarged()));

// --- keys

const STEPS = { j: 1, ArrowDown: 1, ArrowRight: 1, k: -1, ArrowUp: -1, ArrowLeft: -1 };

function inField(event, field) {
  if (event.key === "Escape") field.blur();
  if (event.key !== "Enter" || field.type !== "search") return;
  event.preventDefault();
  clearTimeout(typing); // or the list would be made again, and what has the focus be lost
  filter();
  go(0);
}

function onPage(event) {
  const step = STEPS[event.key];
  if (step) go(Math.min(shown.length - 1, Math.max(0, here() + step)));
  else if (event.key === "/") form.elements.q.focus();
  else if (event.key === "?") help.showModal();
  else if (event.key === "Enter" && event.target.matches("article")) enlarge(here());
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", event => {
  const step = STEPS[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.matches("input[type=search], select")) return inField(event, event.target);
  if (!large.open) return onPage(event);
  if (!step) return;
  event.preventDefault();
  enlarge(enlarged() + step);
});

// --- beginning

function changed() {
  filter();
  if (browser.getBoundingClientRect().top < 0) browser.scrollIntoView();
  current = "";
  remember();
}

let typing = 0;
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(changed, 120);
});
form.addEventListener("reset", () => setTimeout(changed)); // when the fields are empty
form.addEventListener("submit", event => event.preventDefault());
keys.addEventListener("click", () => help.showModal());
addEventListener("hashchange", follow);
document.getElementById("plain").remove(); // what is read where scripts are off
browser.hidden = false;
follow();
