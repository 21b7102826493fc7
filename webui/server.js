// The server this page came from: the only one that it ever asks. Addresses are relative, so they stay under --api-prefix.

import { attempt } from "./dom.js";

const KEY = "solofile.key";

// The server answered, and its answer is an error.
export class ServerError extends Error {
  constructor(status, error = {}) {
    super(error.message || String(status));
    this.name = "ServerError";
    this.status = status;
    this.type = error.type ?? "";
    this.details = error;
  }
}

// Nobody answered, or the answer broke off.
export class GoneError extends Error {
  constructor(cause) {
    super(String(cause?.message ?? cause));
    this.name = "GoneError";
  }
}

export class Server {
  // `askKey(wrong)` gives {key, remember} for a server that wants a key.
  constructor(askKey) {
    this.askKey = askKey;
    this.key = attempt(() => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY));
    this.asking = null;
  }

  async call(path, options = {}) {
    for (;;) {
      const used = this.key;
      const response = await this.send(path, options, used);
      if (response.status !== 401) return response;
      // Another request may have brought a new key meanwhile.
      if (used === this.key) await this.newKey(used !== "");
    }
  }

  async send(path, options, key) {
    const headers = { ...options.headers };
    if (key) headers.Authorization = `Bearer ${key}`;
    try {
      return await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new GoneError(error);
    }
  }

  newKey(wrong) {
    this.asking ??= this.askKey(wrong).then(({ key, remember }) => {
      this.key = key;
      this.asking = null;
      attempt(() => (remember ? localStorage : sessionStorage).setItem(KEY, key));
    });
    return this.asking;
  }

  // The JSON of an answer; `ServerError` where it is an error.
  async json(path, options) {
    const response = await this.call(path, options);
    if (!response.ok) throw await errorOf(response);
    try {
      return await response.json();
    } catch (error) {
      throw new GoneError(error);
    }
  }

  post(path, body, options = {}) {
    const headers = { "Content-Type": "application/json" };
    return this.call(path, { method: "POST", headers, body: JSON.stringify(body), ...options });
  }

  // Where the model stands: open without a key, also while it loads.
  async status() {
    const response = await this.send("solofile/status", {}, "");
    if (!response.ok) throw await errorOf(response);
    return response.json();
  }

  about() {
    return this.json("solofile/about");
  }

  async tokens(text, signal) {
    const response = await this.post("tokenize", { content: text }, { signal });
    if (!response.ok) throw await errorOf(response);
    return (await response.json()).tokens.length;
  }
}

export async function errorOf(response) {
  const text = await response.text().catch(() => "");
  try {
    return new ServerError(response.status, JSON.parse(text).error);
  } catch {
    return new ServerError(response.status, { message: text.slice(0, 300) });
  }
}
