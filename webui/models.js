// The bundle's models, of which one runs: what each takes, and the choice of another one.

import { $, icon } from "./dom.js";
import { menu } from "./notices.js";
import { bytes, t } from "./strings.js";

export function drawModels({ models = [], model }) {
  $("models").hidden = models.length < 2;
  $("models").textContent = model;
}

export function showModels({ models, model }, change) {
  menu($("models"), models.map(({ name, size, fits }) => [[name, bytes(size), t(fits ? "fits" : "fitsNot")].join(" · "), () => change(name), icon(name === model ? "proceed" : "file")]));
}
