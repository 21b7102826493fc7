// Whether the server is there. One open stream says so, and tells the server that somebody looks at its page.
//
// A browser opens only a few connections to a server, so of all tabs one holds the stream, by a lock that passes on when
// it is closed, and tells the others. Nothing is asked again and again while the server is there.

import { pause } from "./dom.js";
import { events } from "./stream.js";

const RETRY_MS = [500, 1000, 2000, 5000];

export class Presence {
  // `on(phase)` is told "gone" and the phases of the server's status, with that status.
  constructor(server, on) {
    this.server = server;
    this.on = (phase, state) => this.over || on(phase, state);
    this.here = true;
    this.over = false; // the reader ended the program: it is not looked for
    this.searching = null;
    this.channel = new BroadcastChannel("solofile.presence");
    this.channel.onmessage = ({ data }) => (data === "gone" ? this.lost() : null);
  }

  begin() {
    if (navigator.locks) navigator.locks.request("solofile.presence", () => this.hold());
    else this.hold(); // a page over plain http from another machine has no locks
  }

  async hold() {
    while (!this.over) {
      const response = await this.server.call("solofile/events").catch(() => null);
      if (response?.status === 404) return; // a server without it: what fails tells
      if (response?.ok) {
        try {
          for await (const state of events(response.body)) if (state.phase) this.on(state.phase, state);
        } catch {
          // It broke off, which is what this waits for.
        }
      }
      if (!this.over) this.channel.postMessage("gone");
      await this.lost();
    }
  }

  // Somebody noticed that the server does not answer: look for it until it does.
  lost() {
    this.searching ??= this.search().finally(() => (this.searching = null));
    return this.searching;
  }

  async search() {
    for (let tries = 0; !this.over; tries++) {
      const state = await this.server.status().catch(() => null);
      if (state) {
        this.here = true;
        this.on(state.phase, state);
        await pause(RETRY_MS[0]);
        return;
      }
      if (this.here) {
        this.here = false;
        this.on("gone", null);
      }
      await pause(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
    }
  }
}
