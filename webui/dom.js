// Making elements. Text is always text: nothing in this page turns a string into markup.

export const $ = (id) => document.getElementById(id);

// An element with attributes, `on…` listeners and children; null and false leave an attribute or a child out.
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

// One of the pictures at the top of index.html.
export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  picture.setAttribute("class", "icon");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  picture.append(use);
  return picture;
}

// A button with a picture; its label is read out and shown as a tooltip.
export function iconButton(name, label, onclick, attributes = {}) {
  return el("button", { type: "button", class: "plain", title: label, "aria-label": label, onclick, ...attributes }, icon(name));
}

export function textButton(label, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, label);
}

// Offers `text` as a file to keep.
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// What `action` gives; a browser may forbid storage, and then nothing is kept.
export function attempt(action) {
  try {
    return action() ?? "";
  } catch {
    return "";
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
