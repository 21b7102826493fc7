// How an answer is made: llama.cpp's settings that the page offers, their bounds, and ready-made sets of them.

// Words for them are in languages/: "temperature" and "temperatureHint", and so on.
export const PARAMETERS = [
  { name: "temperature", min: 0, max: 2, usual: 0.8 },
  { name: "top_p", min: 0, max: 1, usual: 0.95 },
  { name: "top_k", min: 0, max: 200, whole: true, usual: 40 },
  { name: "min_p", min: 0, max: 1, usual: 0.05 },
  { name: "repeat_penalty", min: 0.5, max: 2, usual: 1 },
  { name: "presence_penalty", min: -2, max: 2, usual: 0 },
  { name: "frequency_penalty", min: -2, max: 2, usual: 0 },
  { name: "max_tokens", min: -1, max: 1_000_000, whole: true, usual: -1 },
  { name: "seed", min: -1, max: 4294967295, whole: true, usual: -1 },
];

export const PRESETS = [
  { name: "presetPrecise", values: { temperature: 0.2, top_p: 0.9, top_k: 20 } },
  { name: "presetCreative", values: { temperature: 1.2, top_p: 0.98, top_k: 100, min_p: 0.02 } },
  { name: "presetSame", values: { temperature: 0, seed: 1 } },
];

// What is wrong with a value, as a key of the languages; null where nothing is.
export function problemOf({ min, max, whole }, text) {
  if (text.trim() === "") return null;
  const value = Number(text);
  if (!Number.isFinite(value)) return "notANumber";
  if (value < min || value > max) return "outOfRange";
  return whole && !Number.isInteger(value) ? "notWhole" : null;
}

export function schemaProblem(text) {
  if (!text.trim()) return null;
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? null : "schemaNoObject";
  } catch {
    return "schemaNoJson";
  }
}

// What the reader chose, as fields of a request; what was left alone is the server's business.
export function requestFields({ values = {}, schema = "" }) {
  const fields = {};
  for (const { name } of PARAMETERS) if (values[name] !== undefined) fields[name] = values[name];
  if (schema.trim() && !schemaProblem(schema)) {
    fields.response_format = { type: "json_schema", json_schema: { name: "answer", schema: JSON.parse(schema) } };
  }
  return fields;
}

// Of anything that was stored or imported, the values that are parameters within their bounds.
export function soundValues(values = {}) {
  return Object.fromEntries(PARAMETERS.filter((one) => typeof values[one.name] === "number" && !problemOf(one, String(values[one.name]))).map(({ name }) => [name, values[name]]));
}
